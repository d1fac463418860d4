# LibTorch built with the pre-C++11 std::string links with none of the distribution's C++ libraries.
include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_LIBRARIES pf_torch)
set(CMAKE_REQUIRED_FLAGS ${TORCH_CXX_FLAGS})
if(TORCH_CXX_FLAGS MATCHES "_GLIBCXX_USE_CXX11_ABI=0")
  message(FATAL_ERROR
    "C++ ABI mismatch: the LibTorch at ${TORCH_INSTALL_PREFIX} was built with the old C++ ABI "
    "(_GLIBCXX_USE_CXX11_ABI=0), but Debian's yaml-cpp, Boost and GoogleTest use the C++11 ABI, so "
    "linking would end in undefined references. Use the PyPI wheel torch==2.11.0 "
    "(./launch/setup.sh installs it) or a LibTorch download marked \"cxx11 ABI\".")
endif()
