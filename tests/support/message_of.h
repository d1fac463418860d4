// What a call complains about.
#pragma once
#include <string>

namespace pinnerformer {

// The text of the Error that `call` throws, "no error" where it throws nothing. Other exceptions
// pass.
template <class Error, class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace pinnerformer
