// Patterns, regular expressions and routing keys as an operator may write them, on any channel name.
#include "app/channel_rule.hpp"

#include <stdexcept>

#include "fuzz.hpp"

using namespace realtime;

namespace {

bool within(std::string_view whole, std::string_view part)
{
    return part.empty() ||
           (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

// The stars replaced by what they captured is the name.
void checkWildcards(std::string_view pattern, std::string_view channel, const Captures& captures)
{
    std::string name;
    std::size_t star = 0;
    for (const char c : pattern) {
        if (c == '*') {
            CHECK(++star < captures.numbered.size());
            name += captures.numbered[star];
        } else {
            name += c;
        }
    }
    CHECK(name == channel);
    CHECK(captures.numbered.size() == star + 1);
}

void run(std::string_view patternText, std::string_view keyText, std::string_view channel)
{
    const ChannelPattern pattern(patternText);
    std::optional<RoutingKey> key;
    try {
        key.emplace(keyText, &pattern);
    } catch (const std::runtime_error&) {
    }
    Captures captures;
    if (!pattern.match(channel, captures)) {
        CHECK(captures.numbered.empty() && captures.named.empty());
        return;
    }
    CHECK(captures.numbered.at(0) == channel);
    for (std::size_t i = 0; i < captures.numbered.size(); ++i) {
        CHECK(within(channel, captures.numbered[i]));
        CHECK(pattern.hasCapture(std::to_string(i)));
    }
    CHECK(!pattern.hasCapture(std::to_string(captures.numbered.size())));
    for (const auto& [name, value] : captures.named) {
        CHECK(within(channel, value));
        CHECK(pattern.hasCapture(name));
    }
    if (!patternText.starts_with('~')) {
        checkWildcards(patternText, channel, captures);
    }
    if (key) {
        key->expand("app", channel, "event", captures);
    }
}

} // namespace

std::vector<std::string> seeds()
{
    return {"orders.*\norders.$1\norders.17",
            "*a*b**\n${1}$2$$\nxaybz",
            "~^analytics\\.(?<tenant>\\w+)$\nanalytics.$tenant.$channel.$app\nanalytics.acme",
            "~^(a+)+$\n$1\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!",
            "~(?i)(x)|(y)(?=z)\n$event$2\nY\xc3\xbcz",
            "50r/s\n30r/m\n\xc2\x85"};
}

FUZZ_TARGET(channel_rule)(const std::uint8_t* data, std::size_t size)
{
    Input in(data, size);
    const std::string_view pattern = in.line(), key = in.line(), channel = in.rest();
    if (const auto rate = parseRate(pattern)) {
        CHECK(rate->perSecond > 0);
    }
    if (validChannelName(channel)) {
        CHECK(!channel.empty() && channel.size() <= 200 && channel.find('\0') == std::string_view::npos);
    }
    try {
        run(pattern, key, channel.substr(0, 200));
    } catch (const std::runtime_error& e) {
        CHECK(std::string_view(e.what()).starts_with("invalid "));
    }
    return 0;
}
