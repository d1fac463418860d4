// Cores, GPUs and network cards of machines that a folder describes as the kernel would.
#include "launch/doctor/machine_topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/dataset_fixture.h"

namespace pinnerformer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Two NUMA nodes of four cores; a GPU on the second; two ports of 400 Gbit/s.
class MachineTopologyTest : public testing::Test {
 protected:
  MachineTopologyTest() {
    put("sys/devices/system/node/node0/cpulist", "0-3");
    put("sys/devices/system/node/node1/cpulist", "4-7");
    put("sys/devices/system/node/possible", "0-1");
    put("sys/bus/pci/devices/0000:18:00.0/numa_node", "1");
    put_port("mlx5_0", "4: ACTIVE", "400 Gb/sec (4X NDR)");
    put_port("mlx5_1", "4: ACTIVE", "400 Gb/sec (4X NDR)");
  }

  void put(const std::string& file, const std::string& text) const {
    const std::filesystem::path path = directory_ / file;
    std::filesystem::create_directories(path.parent_path());
    write_file(path, text + "\n");
  }

  void put_port(const std::string& card, const std::string& state, const std::string& rate) const {
    put("sys/class/infiniband/" + card + "/ports/1/state", state);
    put("sys/class/infiniband/" + card + "/ports/1/rate", rate);
  }

  [[nodiscard]] Check cores(const std::vector<int>& cores, int threads,
                            const std::string& gpu = "") const {
    return cores_check(directory_.path(), cores, threads, gpu);
  }
  [[nodiscard]] Check cards(bool has_gpu) const {
    return network_cards_check(directory_.path(), has_gpu);
  }

  TemporaryDirectory directory_;
};

TEST_F(MachineTopologyTest, ListsOfTheKernel) {
  EXPECT_THAT(parse_cpu_list("0-2,8"), ElementsAre(0, 1, 2, 8));
  EXPECT_THAT(parse_cpu_list("5"), ElementsAre(5));
  EXPECT_THAT(parse_cpu_list("-1"), IsEmpty()) << "numa_node of a machine with one node";
  for (const char* text : {"", "x", "-", "99999999999", "0-99999999"})
    EXPECT_THAT(parse_cpu_list(text), IsEmpty()) << text;
  EXPECT_THAT(parse_cpu_list("3,x,4"), ElementsAre(3));
}

TEST_F(MachineTopologyTest, CoresOfTheGpusNodeAreFine) {
  const Check found = cores({4, 5, 6, 7}, 2, "0000:18:00.0");
  EXPECT_EQ(found.health, Health::kOk);
  EXPECT_EQ(found.finding, "2 thread(s) on 4 core(s) of NUMA node(s) 1");
}

TEST_F(MachineTopologyTest, FewCoresBesideAGpuAreNoted) {
  const Check found = cores({4, 5, 6}, 1, "0000:18:00.0");
  EXPECT_EQ(found.health, Health::kNote);
  EXPECT_THAT(found.finding, HasSubstr("too few beside a GPU"));
}

TEST_F(MachineTopologyTest, CoresFarFromTheGpuAreNoted) {
  const Check found = cores({0, 1}, 2, "0000:18:00.0");
  EXPECT_EQ(found.health, Health::kNote);
  EXPECT_THAT(found.finding, HasSubstr("the GPU is on node 1"));
}

TEST_F(MachineTopologyTest, CoresOfTwoNodesAreNoted) {
  EXPECT_THAT(cores({3, 4}, 1).finding, HasSubstr("NUMA node(s) 0, 1: memory of another node"));
  EXPECT_EQ(cores({3, 4}, 1).health, Health::kNote);
}

TEST_F(MachineTopologyTest, MoreThreadsThanCoresAreNoted) {
  EXPECT_EQ(cores({0, 1}, 3).health, Health::kNote);
  EXPECT_THAT(cores({0, 1}, 3).finding, HasSubstr("lower OMP_NUM_THREADS"));
}

TEST_F(MachineTopologyTest, MachinesWithoutNumaAreFine) {
  const Check found = cores_check(directory_ / "nothing", {0, 1, 2, 3}, 1, "0000:18:00.0");
  EXPECT_EQ(found.health, Health::kOk);
  EXPECT_EQ(found.finding, "1 thread(s) on 4 core(s)");
}

TEST_F(MachineTopologyTest, PortsThatAreDownOrSlowAreNamed) {
  EXPECT_EQ(cards(false).health, Health::kOk);
  EXPECT_EQ(cards(false).finding, "2 port(s), 400 Gbit/s");
  put_port("mlx5_1", "1: DOWN", "10 Gb/sec");
  EXPECT_THAT(cards(false).finding, HasSubstr("mlx5_1 port 1 is down"));
  put_port("mlx5_1", "4: ACTIVE", "200 Gb/sec");
  EXPECT_EQ(cards(false).health, Health::kNote);
  EXPECT_THAT(cards(false).finding, HasSubstr("mlx5_1 port 1 is slower"));
}

TEST_F(MachineTopologyTest, GpuDirectNeedsItsModule) {
  EXPECT_THAT(cards(true).finding, HasSubstr("nvidia_peermem is not loaded"));
  put("sys/module/nvidia_peermem/refcnt", "0");
  EXPECT_EQ(cards(true).health, Health::kOk);
  EXPECT_THAT(cards(true).finding, HasSubstr("GPUDirect"));
}

TEST_F(MachineTopologyTest, NoCardIsANote) {
  EXPECT_EQ(network_cards_check(directory_ / "nothing", true).health, Health::kNote);
}

}  // namespace
}  // namespace pinnerformer
