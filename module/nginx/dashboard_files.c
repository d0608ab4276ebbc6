/* The bytes of the dashboard's files, as the assembler finds them in REALTIME_DASHBOARD. No tool but the compiler's own
 * is needed, and nothing is copied when the module is loaded. dashboard.cpp declares the symbols. */

#define FILE_AS(symbol, name)                                                                                \
    __asm__(".pushsection .rodata\n"                                                                         \
            ".hidden realtime_" #symbol "\n.global realtime_" #symbol "\n"                                   \
            ".hidden realtime_" #symbol "_end\n.global realtime_" #symbol "_end\n"                           \
            ".balign 16\n"                                                                                   \
            "realtime_" #symbol ":\n"                                                                        \
            ".incbin \"" REALTIME_DASHBOARD "/" name "\"\n"                                                  \
            "realtime_" #symbol "_end:\n"                                                                    \
            ".byte 0\n"                                                                                      \
            ".popsection\n")

FILE_AS(index_html, "index.html");
FILE_AS(dashboard_css, "dashboard.css");
FILE_AS(dashboard_js, "dashboard.js");
FILE_AS(uplot_css, "uplot.css");
FILE_AS(uplot_js, "uplot.js");
