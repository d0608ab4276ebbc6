#include "hub/since.hpp"

#include "base/ascii.hpp"

#include <algorithm>
#include <string>

namespace realtime {

const MessageId* Since::of(std::uint64_t epoch) const
{
    const auto found =
        std::lower_bound(ids.begin(), ids.end(), epoch,
                         [](const MessageId& id, std::uint64_t wanted) { return id.epoch < wanted; });
    return found != ids.end() && found->epoch == epoch ? &*found : nullptr;
}

namespace {

std::string_view trim(std::string_view text)
{
    constexpr std::string_view Blank = " \t";
    text.remove_prefix(std::min(text.find_first_not_of(Blank), text.size()));
    return text.substr(0, text.find_last_not_of(Blank) + 1);
}

std::optional<MessageId> parseId(std::string_view text)
{
    const std::size_t dash = std::min(text.find('-'), text.size());
    const std::string_view offset = text.substr(std::min(dash + 1, text.size()));
    const bool digits = !offset.empty() && std::all_of(offset.begin(), offset.end(), isDigit);
    auto id = parseMessageId(text);
    if (!id && digits && offset.front() != '0') {
        id = parseMessageId(std::string(text.substr(0, dash)) + "-0");
        if (id) {
            id->offset = Since::BeyondAll;
        }
    }
    return id;
}

} // namespace

Since parseSince(std::string_view text)
{
    Since since;
    text = trim(text);
    if (text.empty() || text == "latest") {
        return since;
    }
    if (text == "earliest") {
        since.kind = Since::Kind::Earliest;
        return since;
    }

    since.kind = Since::Kind::After;
    while (!text.empty() && since.ids.size() < Since::MaxIds) {
        const std::size_t comma = std::min(text.find(','), text.size());
        if (const auto id = parseId(trim(text.substr(0, comma)))) {
            since.ids.push_back(*id);
        }
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    std::stable_sort(since.ids.begin(), since.ids.end(),
                     [](const MessageId& a, const MessageId& b) { return a.epoch < b.epoch; });
    return since;
}

} // namespace realtime
