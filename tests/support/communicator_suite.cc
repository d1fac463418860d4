// Expected results are computed on every rank from the formula of the values, without
// communication.
#include "tests/support/communicator_suite.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <chrono>
#include <numeric>
#include <thread>

namespace pinnerformer::communicator_suite {
namespace {

constexpr int64_t kWidth = 3;

// Rows that rank `from` has for rank `to`: small integers, exact in bfloat16, sums of 8 ranks too.
torch::Tensor values(int from, int to, int64_t rows, const Variant& variant) {
  const torch::Tensor ramp = torch::arange(rows * kWidth, torch::kInt64).remainder(5);
  return (ramp + 1 + 3 * from + to).view({rows, kWidth}).to(variant.type).to(variant.device);
}

torch::Tensor empty_rows(int64_t rows, const Variant& variant) {
  return torch::full({rows, kWidth}, -7, torch::dtype(variant.type).device(variant.device));
}

// Uneven: rank r has r more rows than the size asked for, and rank 1 has none.
std::vector<int64_t> uneven_counts(int world, int64_t rows) {
  std::vector<int64_t> counts;
  for (int rank = 0; rank < world; ++rank) counts.push_back(rank == 1 ? 0 : rows + rank);
  return counts;
}

int64_t sum_of(const std::vector<int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

void expect_same(const torch::Tensor& found, const torch::Tensor& expected, const char* what) {
  ASSERT_EQ(found.sizes(), expected.sizes()) << what;
  EXPECT_TRUE(torch::equal(found.cpu(), expected.cpu())) << what << " of " << found.sizes();
}

torch::Tensor summed(const Communicator& comm, int to, int64_t rows, const Variant& variant) {
  torch::Tensor sum = values(0, to, rows, variant);
  for (int rank = 1; rank < comm.size(); ++rank) sum += values(rank, to, rows, variant);
  return sum;
}

}  // namespace

std::vector<Variant> variants(torch::Device device) {
  std::vector<Variant> all;
  for (const auto type : {torch::kFloat32, torch::kBFloat16, torch::kInt32, torch::kInt64})
    for (const int64_t rows : {0, 1, 7, 100'003}) all.push_back({type, rows, device});
  return all;
}

void check_all_reduce(Communicator& comm, const Variant& variant) {
  torch::Tensor tensor = values(comm.rank(), 0, variant.rows, variant);
  comm.all_reduce(tensor, "suite all_reduce")->wait();
  expect_same(tensor, summed(comm, 0, variant.rows, variant), "all_reduce");
}

void check_all_gather(Communicator& comm, const Variant& variant) {
  const auto counts = uneven_counts(comm.size(), variant.rows);
  torch::Tensor output = empty_rows(sum_of(counts), variant);
  const auto mine = counts[static_cast<size_t>(comm.rank())];
  comm.all_gather(output, values(comm.rank(), 0, mine, variant), counts, "suite all_gather")
      ->wait();
  std::vector<torch::Tensor> parts;
  for (int rank = 0; rank < comm.size(); ++rank)
    parts.push_back(values(rank, 0, counts[static_cast<size_t>(rank)], variant));
  expect_same(output, torch::cat(parts), "all_gather");
}

void check_reduce_scatter(Communicator& comm, const Variant& variant) {
  const auto counts = uneven_counts(comm.size(), variant.rows);
  std::vector<torch::Tensor> parts;
  for (int to = 0; to < comm.size(); ++to)
    parts.push_back(values(comm.rank(), to, counts[static_cast<size_t>(to)], variant));
  const auto mine = counts[static_cast<size_t>(comm.rank())];
  torch::Tensor output = empty_rows(mine, variant);
  comm.reduce_scatter(output, torch::cat(parts), counts, "suite reduce_scatter")->wait();
  expect_same(output, summed(comm, comm.rank(), mine, variant), "reduce_scatter");
}

void check_all_to_all(Communicator& comm, const Variant& variant) {
  // Rank a sends rows + a + 2 b rows to rank b, none to itself where a is odd.
  const auto count = [&](int from, int to) {
    return from == to && from % 2 == 1 ? int64_t{0} : variant.rows + from + 2 * to;
  };
  std::vector<int64_t> send, receive;
  std::vector<torch::Tensor> out, expected;
  for (int other = 0; other < comm.size(); ++other) {
    send.push_back(count(comm.rank(), other));
    receive.push_back(count(other, comm.rank()));
    out.push_back(values(comm.rank(), other, send.back(), variant));
    expected.push_back(values(other, comm.rank(), receive.back(), variant));
  }
  torch::Tensor output = empty_rows(sum_of(receive), variant);
  comm.all_to_all(output, torch::cat(out), receive, send, "suite all_to_all")->wait();
  expect_same(output, torch::cat(expected), "all_to_all");
}

void check_broadcast(Communicator& comm, const Variant& variant) {
  for (int root = 0; root < comm.size(); ++root) {
    torch::Tensor tensor = values(comm.rank(), 0, variant.rows, variant);
    comm.broadcast(tensor, root, "suite broadcast")->wait();
    expect_same(tensor, values(root, 0, variant.rows, variant), "broadcast");
  }
}

void check_overlapping(Communicator& comm, const Variant& variant) {
  torch::Tensor first = values(comm.rank(), 0, variant.rows, variant);
  torch::Tensor second = values(comm.rank(), 1, variant.rows, variant);
  torch::Tensor third = values(comm.rank(), 2, variant.rows, variant);
  const auto one = comm.all_reduce(first, "suite first");
  const auto two = comm.broadcast(second, comm.size() - 1, "suite second");
  const auto three = comm.all_reduce(third, "suite third");
  three->wait();
  one->wait();
  two->wait();
  expect_same(first, summed(comm, 0, variant.rows, variant), "first of three");
  expect_same(second, values(comm.size() - 1, 1, variant.rows, variant), "second of three");
  expect_same(third, summed(comm, 2, variant.rows, variant), "third of three");
}

void check_barrier(Communicator& comm) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kDelay = std::chrono::milliseconds(150);
  comm.barrier("suite start");
  const auto begin = Clock::now();
  if (comm.rank() == 0) std::this_thread::sleep_for(kDelay);
  comm.barrier("suite barrier");
  EXPECT_GE(Clock::now() - begin, kDelay * 2 / 3) << "left before rank 0 had arrived";
}

void check_refusals(Communicator& comm, torch::Device device) {
  const auto rows = [&](int64_t count) { return torch::ones({count, kWidth}).to(device); };
  const int64_t ranks = comm.size();
  const std::vector<int64_t> two_each(static_cast<size_t>(ranks), 2);
  const std::vector<int64_t> too_few(static_cast<size_t>(ranks) - 1, 2);
  EXPECT_THROW(comm.all_gather(rows(2 * ranks), rows(3), two_each, "own rows"), c10::Error);
  EXPECT_THROW(comm.all_gather(rows(2 * ranks + 1), rows(2), two_each, "sum"), c10::Error);
  EXPECT_THROW(comm.all_gather(rows(2 * ranks), rows(2), too_few, "ranks"), c10::Error);
  EXPECT_THROW(
      comm.all_gather(rows(2 * ranks), rows(2).narrow(1, 0, 1).contiguous(), two_each, "width"),
      c10::Error);
  EXPECT_THROW(comm.reduce_scatter(rows(3), rows(2 * ranks), two_each, "own rows"), c10::Error);
  EXPECT_THROW(comm.reduce_scatter(rows(2), rows(2 * ranks + 1), two_each, "sum"), c10::Error);
  EXPECT_THROW(comm.all_to_all(rows(2 * ranks), rows(2 * ranks + 1), two_each, two_each, "sum"),
               c10::Error);
  EXPECT_THROW(comm.all_to_all(rows(2 * ranks + 1), rows(2 * ranks), two_each, two_each, "sum"),
               c10::Error);
  check_all_reduce(comm, {torch::kFloat32, 7, device});  // the refused calls left no trace
}

void check_everything(Communicator& comm, torch::Device device) {
  for (const Variant& variant : variants(device)) {
    SCOPED_TRACE(c10::str(variant.type, " x ", variant.rows));
    check_all_reduce(comm, variant);
    check_all_gather(comm, variant);
    check_reduce_scatter(comm, variant);
    check_all_to_all(comm, variant);
    check_broadcast(comm, variant);
    check_overlapping(comm, variant);
  }
  check_barrier(comm);
  check_refusals(comm, device);
}

}  // namespace pinnerformer::communicator_suite
