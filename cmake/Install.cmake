# `cmake --install build --prefix P`: the program, and its configurations, examples and pages in share/.
# LibTorch, NCCL and Arrow, which no distribution packages, are found in P/lib/pinnerformer, relative to
# the program. That folder gets links to what the build used. The component `libraries` copies them
# instead, for a prefix that goes to other machines or outlives the checkout:
#   cmake --install build --prefix P --component libraries
# Wheels find each other by relative paths, so lib/pinnerformer has their layout.
include(GNUInstallDirs)
include(InstalledLibraries)

set(PF_PRIVATE ${CMAKE_INSTALL_LIBDIR}/pinnerformer)
pf_installed_libraries(PF_LIBRARY_FOLDERS PF_LIBRARY_SOURCES)

# --- The program --------------------------------------------------------------------------------
file(RELATIVE_PATH to_private /prefix/${CMAKE_INSTALL_BINDIR} /prefix/${PF_PRIVATE})
set(rpath ${CMAKE_INSTALL_RPATH})
foreach(folder IN LISTS PF_LIBRARY_FOLDERS)
  list(APPEND rpath $ORIGIN/${to_private}/${folder})
endforeach()
set_target_properties(pinnerformer PROPERTIES INSTALL_RPATH "${rpath}")
install(TARGETS pinnerformer RUNTIME COMPONENT program)

# --- share/ -------------------------------------------------------------------------------------
set(share ${CMAKE_INSTALL_DATADIR}/pinnerformer)
install(DIRECTORY configs DESTINATION ${share} COMPONENT program FILES_MATCHING PATTERN *.yaml)
install(DIRECTORY launch/sample_data launch/container launch/kubernetes DESTINATION ${share}
  COMPONENT program)
install(DIRECTORY launch/slurm DESTINATION ${share} COMPONENT program FILES_MATCHING PATTERN *.sbatch)
install(DIRECTORY launch/python DESTINATION ${share} COMPONENT program
  PATTERN build EXCLUDE PATTERN *.egg-info EXCLUDE PATTERN __pycache__ EXCLUDE)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program)
install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright COMPONENT program)

# --- lib/pinnerformer -----------------------------------------------------------------------------
foreach(folder source IN ZIP_LISTS PF_LIBRARY_FOLDERS PF_LIBRARY_SOURCES)
  set(place "\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${PF_PRIVATE}/${folder}")
  install(CODE "
    if(NOT IS_DIRECTORY \"${place}\" OR IS_SYMLINK \"${place}\")
      get_filename_component(parent \"${place}\" DIRECTORY)
      file(MAKE_DIRECTORY \"\${parent}\")
      file(CREATE_LINK \"${source}\" \"${place}\" SYMBOLIC)
      message(STATUS \"Linked: ${place} -> ${source}\")
    endif()" COMPONENT links)
  # Copying through a link of an earlier installation would write into the wheel.
  install(CODE "
    if(IS_SYMLINK \"${place}\")
      file(REMOVE \"${place}\")
    endif()" COMPONENT libraries EXCLUDE_FROM_ALL)
  install(DIRECTORY ${source}/ DESTINATION ${PF_PRIVATE}/${folder} COMPONENT libraries
    EXCLUDE_FROM_ALL FILES_MATCHING REGEX "/lib[^/]*\\.so[.0-9]*$"
    REGEX "/libshm|/lib(torch_python|arrow_[a-z]+)\\.so|\\.alt\\.so" EXCLUDE)
endforeach()
