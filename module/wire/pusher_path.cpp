#include "wire/pusher_path.hpp"

#include "base/ascii.hpp"

namespace realtime::pusher {

namespace {

constexpr std::size_t Nowhere = std::string_view::npos;

// The first segment from the slash at `slash` on.
std::string_view segmentAt(std::string_view path, std::size_t slash)
{
    const std::string_view rest = path.substr(slash + 1);
    return rest.substr(0, rest.find('/'));
}

// The last slash that begins this segment, which `location` names at least in part: `/ap` takes `/apps` too.
std::size_t lastWithin(std::string_view location, std::string_view uri, std::string_view segment)
{
    std::size_t found = Nowhere;
    for (std::size_t slash = 0; slash != Nowhere && slash + 1 < location.size();
         slash = location.find('/', slash + 1)) {
        if (segmentAt(uri, slash) == segment) {
            found = slash;
        }
    }
    return found;
}

// Where the location ends: before its last slash, or before what it has of a segment.
std::size_t endOf(std::string_view location, std::string_view uri)
{
    const bool whole = location.size() == uri.size() || uri[location.size()] == '/';
    return whole && !location.ends_with('/') ? location.size() : location.rfind('/');
}

bool escapeAt(std::string_view text, std::size_t at)
{
    return text[at] == '%' && text.size() - at > 2 && hexValue(text[at + 1]) >= 0 &&
           hexValue(text[at + 2]) >= 0;
}

} // namespace

std::optional<std::size_t> mountedAt(std::string_view location, std::string_view uri,
                                     std::initializer_list<std::string_view> beginnings)
{
    if (location.starts_with('/') && uri.starts_with(location)) {
        for (const std::string_view segment : beginnings) {
            if (const std::size_t found = lastWithin(location, uri, segment); found != Nowhere) {
                return found;
            }
        }
        return endOf(location, uri);
    }
    for (std::size_t slash = uri.find('/'); slash != Nowhere; slash = uri.find('/', slash + 1)) {
        for (const std::string_view segment : beginnings) {
            if (segmentAt(uri, slash) == segment) {
                return slash;
            }
        }
    }
    return std::nullopt;
}

std::optional<std::size_t> undecodedAt(std::string_view path, std::string_view decoded)
{
    const std::string whole = percentDecoded(path);
    if (decoded.empty() || !std::string_view(whole).ends_with(decoded)) {
        return std::nullopt;
    }
    std::size_t at = 0;
    for (std::size_t before = whole.size() - decoded.size(); before > 0; --before) {
        at += escapeAt(path, at) ? 3 : 1;
    }
    return path[at] == '/' ? std::optional(at) : std::nullopt;
}

std::string percentDecoded(std::string_view text, bool plusIsSpace)
{
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (escapeAt(text, i)) {
            out += static_cast<char>(hexValue(text[i + 1]) << 4 | hexValue(text[i + 2]));
            i += 2;
        } else {
            out += text[i] == '+' && plusIsSpace ? ' ' : text[i];
        }
    }
    return out;
}

std::string_view keyOfPath(std::string_view path)
{
    constexpr std::string_view Beginning = "/app/";
    if (!path.starts_with(Beginning)) {
        return {};
    }
    const std::string_view key = path.substr(Beginning.size());
    return key.find('/') == Nowhere ? key : std::string_view();
}

} // namespace realtime::pusher
