# cmake -DSOURCE=DIR -DOUTPUT=FILE -P BuildCommit.cmake: writes a header with the commit that SOURCE is
# at, unless FILE says so already. Where there is no repository, as in an image's build, by the
# environment's DIME_COMMIT.
set(commit "$ENV{DIME_COMMIT}")
if(commit STREQUAL "")
  execute_process(
    COMMAND git -C ${SOURCE} describe --always --abbrev=12 --dirty --exclude=*
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(commit STREQUAL "")
  set(commit unknown)
endif()
set(text "#define DIME_COMMIT \"${commit}\"\n")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} present)
endif()
if(NOT "${present}" STREQUAL "${text}")
  file(WRITE ${OUTPUT} "${text}")
endif()
