#include "hub/since.hpp"

namespace realtime {

std::optional<Since> parseSince(std::string_view text)
{
    Since since;
    if (text.empty() || text == "latest") {
        return since;
    }
    if (text == "earliest") {
        since.kind = Since::Kind::Earliest;
        return since;
    }

    since.kind = Since::Kind::After;
    for (;;) {
        std::size_t comma = text.find(',');
        auto id = parseMessageId(text.substr(0, comma));
        if (!id || since.ids.size() == Since::MaxIds) {
            return std::nullopt;
        }
        since.ids.push_back(*id);
        if (comma == std::string_view::npos) {
            return since;
        }
        text.remove_prefix(comma + 1);
    }
}

} // namespace realtime
