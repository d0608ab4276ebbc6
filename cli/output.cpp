#include "output.hpp"

#include "base/frame.hpp"
#include "base/json_text.hpp"
#include "base/utf8.hpp"
#include "wire/envelope.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <unistd.h>

namespace realtime::cli {

namespace {

void appendEscape(std::string& out, char c)
{
    switch (c) {
    case '\n':
        out += "\\n";
        return;
    case '\r':
        out += "\\r";
        return;
    case '\t':
        out += "\\t";
        return;
    default:
        char text[8];
        std::snprintf(text, sizeof text, "\\x%02x", static_cast<unsigned char>(c));
        out += text;
    }
}

// C0, DEL, and the first byte of C1 in UTF-8 (U+0080 to U+009F), which terminals obey as well.
bool isControl(std::string_view text, std::size_t at)
{
    const auto byte = static_cast<unsigned char>(text[at]);
    return byte < 0x20 || byte == 0x7f ||
           (byte == 0xc2 && at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) < 0xa0);
}

} // namespace

std::string printable(std::string_view text)
{
    const bool valid = validUtf8(text);
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (isControl(text, i) || (!valid && static_cast<unsigned char>(text[i]) >= 0x80)) {
            appendEscape(out, text[i]);
        } else {
            out += text[i];
        }
    }
    return out;
}

Format formatOf(const Arguments& arguments)
{
    if (arguments.has("json")) {
        return Format::Json;
    }
    return arguments.has("raw") ? Format::RawData : Format::People;
}

void printLine(std::string_view text)
{
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fputc('\n', stdout) == EOF ||
        std::fflush(stdout) != 0) {
        throw std::system_error(errno, std::generic_category(), "standard output");
    }
}

void print(const Message& message, Format format)
{
    if (format == Format::RawData) {
        printLine(message.data);
        return;
    }
    if (format == Format::Json) {
        FrameBuilder line;
        appendJsonEnvelope(line, message.id, message.channel, message.event, message.data);
        printLine(line.view());
        return;
    }
    std::string line = printable(message.channel);
    if (!message.event.empty() && message.event != "message") {
        line += ' ' + printable(message.event);
    }
    printLine(line + ": " + printable(message.data));
}

void complain(std::string_view text)
{
    std::fprintf(stderr, "realtime: %s\n", printable(text).c_str());
}

Progress::Progress(bool quiet) : active_(!quiet && isatty(STDERR_FILENO) == 1) {}

Progress::~Progress()
{
    clear();
}

void Progress::show(std::string_view what, std::size_t done, std::size_t all)
{
    if (!active_) {
        return;
    }
    std::string line(what);
    if (all > 0) {
        constexpr std::size_t Width = 30;
        const std::size_t full = std::min(Width, done * Width / all);
        line += " [" + std::string(full, '#') + std::string(Width - full, ' ') + ']';
    }
    line += ' ' + std::to_string(done) + (all > 0 ? '/' + std::to_string(all) : "");
    if (line != shown_) {
        std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
        shown_ = std::move(line);
    }
}

void Progress::clear()
{
    if (!shown_.empty()) {
        std::fputs("\r\x1b[K", stderr);
        shown_.clear();
    }
}

} // namespace realtime::cli
