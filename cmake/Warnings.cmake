# What every target of ours is compiled with.
add_library(pf_warnings INTERFACE)
target_compile_options(pf_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast>
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${PF_WERROR}>>:-Werror>)
# Square roots in vector registers: nothing reads the errno of a mathematical function.
target_compile_options(pf_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fno-math-errno>)
# GCC 12 reports overlaps and overflows inside std::string and std::vector where it inlines them; they
# are false (its bug 105651, repaired in GCC 13).
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(pf_warnings INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict;-Wno-stringop-overflow>)
elseif(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
  # GCC 13 falsely reports copies out of bounds in the std::vector<bool> of LibTorch's autograd::Function.
  target_compile_options(pf_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-array-bounds>)
endif()
# A unity build includes .cc files: GCC takes their anonymous namespaces for those of a header.
if(PF_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  target_compile_options(pf_warnings INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
endif()
if(PF_SANITIZE)
  target_compile_options(pf_warnings INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=address,undefined -fno-omit-frame-pointer>)
  target_link_options(pf_warnings INTERFACE -fsanitize=address,undefined)
endif()

# What turns a fault in reading foreign bytes into an end of the program (tests/elf_hardening.py):
# guards on the stack, sizes checked in the C library's copies, and tables of functions that nobody
# can write to. The sanitizers do more and do not go along with them.
if(NOT PF_SANITIZE)
  target_compile_options(pf_warnings INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fstack-protector-strong>
    $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=3>)
  target_link_options(pf_warnings INTERFACE LINKER:-z,relro,-z,now,-z,noexecstack)
endif()

# LibTorch's tensor headers take 15 s to parse: they are parsed once, here, and every target reuses
# the result. torch.h itself, twice as large, would cost each file more to load than it saves.
file(WRITE ${CMAKE_BINARY_DIR}/pch.cc "")
add_library(pf_pch STATIC ${CMAKE_BINARY_DIR}/pch.cc)
target_link_libraries(pf_pch PUBLIC pf::torch pf_warnings)
set(PF_PRECOMPILED <torch/types.h> <torch/csrc/autograd/custom_function.h>)
target_precompile_headers(pf_pch PRIVATE ${PF_PRECOMPILED})

# pf_target(NAME [PCH target]): the settings that all our targets with LibTorch share.
function(pf_target name)
  cmake_parse_arguments(ARG "" "PCH" "" ${ARGN})
  if(NOT ARG_PCH)
    set(ARG_PCH pf_pch)
  endif()
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC pf::torch PRIVATE pf_warnings)
  target_precompile_headers(${name} REUSE_FROM ${ARG_PCH})
  get_target_property(type ${name} TYPE)
  if(type STREQUAL EXECUTABLE)
    # CMake would say -fPIE, and g++ would then ignore the precompiled header made with -fPIC.
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fPIC>)
    # libtorch.so exports std::filesystem::remove_all of another standard library, which calls a null
    # pointer. Naming ours first makes the loader find ours first.
    target_link_options(${name} PRIVATE
      LINKER:--push-state,--no-as-needed -lstdc++ LINKER:--pop-state)
  endif()
endfunction()
