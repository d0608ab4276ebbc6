// The headers of a subscriber's request, which anybody may write as they like.
#include "wire/accept.hpp"
#include "wire/websocket.hpp"

#include "fuzz.hpp"

using namespace realtime;

namespace {

std::string lower(std::string_view text)
{
    std::string out(text);
    for (char& c : out) {
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    }
    return out;
}

void checkList(std::string_view list)
{
    std::string_view rest = list;
    std::size_t length = 0;
    while (const auto item = nextListItem(rest)) {
        CHECK(!item->empty());
        CHECK(item->data() >= list.data() && item->data() + item->size() <= list.data() + list.size());
        CHECK(std::string_view(" \t").find(item->front()) == std::string_view::npos);
        CHECK(listHasToken(list, *item));
        length += item->size();
    }
    CHECK(length <= list.size());
    if (acceptsEventStream(list)) {
        CHECK(lower(list).find("text/event-stream") != std::string::npos);
    }
}

// What is accepted are offers of permessage-deflate, whatever stands around them.
void checkExtensions(std::string_view list)
{
    const auto chosen = chooseExtension(list);
    if (!chosen) {
        return;
    }
    const std::string better = "permessage-deflate," + std::string(list);
    const std::string worse = std::string(list) + ",permessage-deflate;server_max_window_bits=8";
    CHECK(chosen->empty() || list.find("permessage-deflate") != std::string_view::npos);
    CHECK(!chooseExtension(better)->empty());
    CHECK(chooseExtension(worse) == chosen);
    CHECK(!chooseExtension(std::string(list) + ",;"));
}

void checkOrigins(std::string_view origin, std::string_view host)
{
    const bool valid = validOrigin(origin);
    CHECK(!sameOrigin(origin, "http", host) || !sameOrigin(origin, "https", host));
    if (sameOrigin(origin, "http", host)) {
        CHECK(valid);
        const std::string hostOnly =
            lower(host.substr(0, host.find(':', host.starts_with('[') ? host.find(']') : 0)));
        const std::size_t at = lower(origin).find("://" + hostOnly);
        CHECK(at != std::string::npos);
        const std::string behind(origin.substr(at + 3 + hostOnly.size()));
        CHECK(behind.empty() || behind[0] == ':');
    }
    const std::string star[] = {"*"}, itself[] = {std::string(origin)}, below[] = {"https://*.example.com"};
    CHECK(originAllowed(star, origin));
    CHECK(originAllowed(itself, origin) == (valid || origin == "*"));
    CHECK(!valid || validOriginPattern(origin));
    if (originAllowed(below, origin)) {
        const std::string name = lower(origin);
        CHECK(valid);
        CHECK(name.starts_with("https://"));
        CHECK(name.ends_with(".example.com") || name.ends_with(".example.com:443"));
    }
}

} // namespace

std::vector<std::string> seeds()
{
    return {"text/html, text/event-stream;q=0.5\nhttps://a.example.com\nexample.com",
            "keep-alive, Upgrade\nhttp://example.com:80\nEXAMPLE.com",
            "a;x=\"1,\\\"2\";q=0,\t,b\nhttp://[::1]:8080\n[::1]:8080",
            "text/event-stream;q=0.000\nhttps://evil.org/.example.com\nevil.org:443",
            "dGhlIHNhbXBsZSBub25jZQ==\nnull\nnull",
            "foo; a=\"b\\c\", permessage-deflate; client_max_window_bits; server_max_window_bits=12\n\n"};
}

FUZZ_TARGET(accept)(const std::uint8_t* data, std::size_t size)
{
    Input in(data, size);
    const std::string_view list = in.line(), origin = in.line(), host = in.rest();
    checkList(list);
    checkExtensions(list);
    checkOrigins(origin, host);
    if (ws::validKey(list)) {
        CHECK(ws::acceptKey(list).size() == 28);
    }
    return 0;
}
