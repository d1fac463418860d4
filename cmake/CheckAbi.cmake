# Refuses a LibTorch built with the pre-C++11 std::string: it links with none of the distribution's
# C++ libraries. Reads TORCH_CXX_FLAGS and TORCH_INSTALL_PREFIX, set by find_package(Torch).
if(TORCH_CXX_FLAGS MATCHES "_GLIBCXX_USE_CXX11_ABI=0")
  message(FATAL_ERROR
    "C++ ABI mismatch: the LibTorch at ${TORCH_INSTALL_PREFIX} was built with the old C++ ABI "
    "(_GLIBCXX_USE_CXX11_ABI=0), but the system's yaml-cpp, Boost and GoogleTest use the C++11 ABI: "
    "linking would end in undefined references. Use the LibTorch that ./launch/setup.sh installs "
    "or a LibTorch download marked \"cxx11 ABI\".")
endif()
