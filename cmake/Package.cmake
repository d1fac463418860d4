# `cpack --config build/CPackConfig.cmake` makes two Debian packages: pinnerformer, a few MB, and
# pinnerformer-libraries, which holds LibTorch, NCCL and Arrow and changes only with them.
#   cpack --config build/CPackConfig.cmake -D CPACK_COMPONENTS_ALL=program    # the first alone
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME pinnerformer)
set(CPACK_PACKAGE_CONTACT "The pinnerformer developers <pinnerformer@localhost>" CACHE STRING
  "who maintains the packages that cpack makes")
set(CPACK_COMPONENTS_ALL program libraries)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_STRIP_FILES OFF)

# One version for what is in it: another LibTorch is another package.
set(CPACK_DEBIAN_LIBRARIES_PACKAGE_NAME pinnerformer-libraries)
set(CPACK_DEBIAN_LIBRARIES_PACKAGE_VERSION ${Torch_VERSION})
set(CPACK_DEBIAN_LIBRARIES_DESCRIPTION "LibTorch ${Torch_VERSION} and its libraries, for pinnerformer")
set(CPACK_DEBIAN_LIBRARIES_PACKAGE_SHLIBDEPS OFF)

set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME pinnerformer)
set(CPACK_DEBIAN_PROGRAM_DESCRIPTION "distributed trainer of PinnerFormer user representations")
set(CPACK_DEBIAN_PROGRAM_PACKAGE_DEPENDS
  "pinnerformer-libraries (>= ${Torch_VERSION}), openmpi-bin, openssh-client")
find_program(DPKG_SHLIBDEPS dpkg-shlibdeps)
if(DPKG_SHLIBDEPS)
  set(CPACK_DEBIAN_PROGRAM_PACKAGE_SHLIBDEPS ON)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PF_LIBRARY_SOURCES})
endif()
include(CPack)
