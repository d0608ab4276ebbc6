# The module itself. Debian's nginx-dev ships headers that are not configured: configure a copy with the very flags
# of the packaged nginx, so that the binary signature matches.
if(NOT NGINX_SOURCE)
    set(NGINX_SOURCE ${CMAKE_BINARY_DIR}/nginx-src)
    if(NOT EXISTS ${NGINX_SOURCE}/objs/ngx_auto_config.h)
        if(NOT EXISTS /usr/share/nginx/src/conf_flags)
            message(FATAL_ERROR "no nginx headers: install nginx-dev, or set NGINX_SOURCE to a configured nginx tree")
        endif()
        message(STATUS "configuring a copy of /usr/share/nginx/src")
        file(COPY /usr/share/nginx/src/ DESTINATION ${NGINX_SOURCE})
        execute_process(
            COMMAND bash -c ". ./conf_flags && ./configure \"\${NGX_CONF_FLAGS[@]}\""
            WORKING_DIRECTORY ${NGINX_SOURCE}
            OUTPUT_FILE ${CMAKE_BINARY_DIR}/nginx-configure.log ERROR_FILE ${CMAKE_BINARY_DIR}/nginx-configure.log
            RESULT_VARIABLE failed)
        if(failed)
            file(REMOVE_RECURSE ${NGINX_SOURCE})
            message(FATAL_ERROR "nginx's configure failed, see ${CMAKE_BINARY_DIR}/nginx-configure.log")
        endif()
    endif()
endif()
if(NOT NGINX_OBJS)
    set(NGINX_OBJS ${NGINX_SOURCE}/objs)
endif()
if(NOT EXISTS ${NGINX_OBJS}/ngx_auto_config.h)
    message(FATAL_ERROR "${NGINX_OBJS} has no ngx_auto_config.h: run nginx's configure first")
endif()

file(GLOB nginx_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/nginx/*.cpp ${CMAKE_CURRENT_SOURCE_DIR}/nginx/conf/*.cpp)
set(dashboard ${CMAKE_CURRENT_SOURCE_DIR}/nginx/dashboard)
file(GLOB dashboard_files CONFIGURE_DEPENDS ${dashboard}/*)
add_library(ngx_http_realtime_module MODULE ${nginx_sources} ${CMAKE_CURRENT_SOURCE_DIR}/nginx/modules.c
    ${CMAKE_CURRENT_SOURCE_DIR}/nginx/dashboard_files.c)
set_source_files_properties(${CMAKE_CURRENT_SOURCE_DIR}/nginx/dashboard_files.c PROPERTIES
    OBJECT_DEPENDS "${dashboard_files}" COMPILE_DEFINITIONS "REALTIME_DASHBOARD=\"${dashboard}\"")
target_include_directories(ngx_http_realtime_module SYSTEM PRIVATE
    ${NGINX_SOURCE}/src/core ${NGINX_SOURCE}/src/event ${NGINX_SOURCE}/src/event/modules
    ${NGINX_SOURCE}/src/event/quic ${NGINX_SOURCE}/src/os/unix ${NGINX_SOURCE}/src/http
    ${NGINX_SOURCE}/src/http/modules ${NGINX_SOURCE}/src/http/v2 ${NGINX_SOURCE}/src/http/v3 ${NGINX_OBJS})
target_link_libraries(ngx_http_realtime_module PRIVATE realtime_core)
precompile_headers(ngx_http_realtime_module $<$<COMPILE_LANGUAGE:CXX>:${CMAKE_CURRENT_SOURCE_DIR}/nginx/ngx.hpp>)
# nginx opens modules RTLD_GLOBAL: nothing but what it looks up may be visible to other modules.
set(exports ${CMAKE_CURRENT_SOURCE_DIR}/nginx/exports.map)
target_link_options(ngx_http_realtime_module PRIVATE -Wl,--version-script=${exports} -Wl,-z,relro -Wl,-z,now)
set_target_properties(ngx_http_realtime_module PROPERTIES LINK_DEPENDS ${exports})
set_target_properties(ngx_http_realtime_module PROPERTIES
    PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
