cat << END >> "$NGX_MAKEFILE"

modules:	ngx_http_realtime_module

ngx_http_realtime_module:
	cmake --build $NGX_OBJS/realtime --target ngx_http_realtime_module
	cp $NGX_OBJS/realtime/ngx_http_realtime_module.so $NGX_OBJS/

.PHONY:	modules ngx_http_realtime_module
END
