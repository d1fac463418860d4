# Decides which CUDA compiler LibTorch's own CMake files use: the one named by the user
# (CMAKE_CUDA_COMPILER, CUDACXX), the wheel's if launch/setup.sh had to install it, then the
# installed toolkit, on PATH or at its usual place. Sets PF_NVCC, empty where there is none.
#
# LibTorch looks for a toolkit three times in three ways, so three variables must agree.

if(CMAKE_CUDA_COMPILER)
  set(PF_NVCC ${CMAKE_CUDA_COMPILER})
elseif(DEFINED ENV{CUDACXX})
  set(PF_NVCC $ENV{CUDACXX})
elseif(EXISTS ${PF_SITE}/nvidia/cu13/bin/nvcc)
  set(PF_NVCC ${PF_SITE}/nvidia/cu13/bin/nvcc)
else()
  find_program(PF_INSTALLED_NVCC nvcc HINTS ENV CUDA_HOME PATH_SUFFIXES bin PATHS /usr/local/cuda/bin)
  if(PF_INSTALLED_NVCC)
    set(PF_NVCC ${PF_INSTALLED_NVCC})
  endif()
endif()

if(PF_NVCC)
  get_filename_component(PF_CUDA_ROOT ${PF_NVCC} REALPATH)
  get_filename_component(PF_CUDA_ROOT ${PF_CUDA_ROOT} DIRECTORY)
  get_filename_component(PF_CUDA_ROOT ${PF_CUDA_ROOT} DIRECTORY)
  set(CMAKE_CUDA_COMPILER ${PF_NVCC} CACHE FILEPATH "CUDA compiler")
  set(CUDA_TOOLKIT_ROOT_DIR ${PF_CUDA_ROOT} CACHE PATH "CUDA toolkit, for LibTorch's FindCUDA")
  set(CUDAToolkit_ROOT ${PF_CUDA_ROOT} CACHE PATH "CUDA toolkit, for CMake's FindCUDAToolkit")
endif()
