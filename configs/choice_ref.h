// An option whose value is an enumerator, or a list of different enumerators of one enum.
#pragma once
#include <cstddef>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "dataloader/base/enum_name.h"

namespace pinnerformer {

// Points at the option without its type; does not own it. Values are positions in names().
class ChoiceRef {
 public:
  template <class E>
  requires std::is_enum_v<E> ChoiceRef(
      E* value)  // NOLINT(google-explicit-constructor): as a plain pointer to an option
      : value_(value),
        names_(kEnumNames<E>),
        is_list_(false),
        get_([](const void* from) {
          return std::vector{static_cast<size_t>(*static_cast<const E*>(from))};
        }),
        set_([](void* to, std::span<const size_t> positions) {
          *static_cast<E*>(to) = static_cast<E>(positions.front());
        }) {}

  template <class E>
  requires std::is_enum_v<E> ChoiceRef(
      std::vector<E>* values)  // NOLINT(google-explicit-constructor)
      : value_(values),
        names_(kEnumNames<E>),
        is_list_(true),
        get_([](const void* from) {
          std::vector<size_t> positions;
          for (const E value : *static_cast<const std::vector<E>*>(from))
            positions.push_back(static_cast<size_t>(value));
          return positions;
        }),
        set_([](void* to, std::span<const size_t> positions) {
          auto& list = *static_cast<std::vector<E>*>(to);
          list.clear();
          for (const size_t position : positions) list.push_back(static_cast<E>(position));
        }) {}

  [[nodiscard]] const void* address() const { return value_; }
  [[nodiscard]] std::span<const std::string_view> names() const { return names_; }
  [[nodiscard]] bool is_list() const { return is_list_; }
  [[nodiscard]] std::vector<size_t> get() const { return get_(value_); }
  // Exactly one position unless is_list().
  void set(std::span<const size_t> positions) const { set_(value_, positions); }

 private:
  void* value_;
  std::span<const std::string_view> names_;
  bool is_list_;
  std::vector<size_t> (*get_)(const void*);
  void (*set_)(void*, std::span<const size_t>);
};

}  // namespace pinnerformer
