#include "wire/envelope.hpp"

#include "base/base64.hpp"
#include "base/json_text.hpp"
#include "base/utf8.hpp"

namespace realtime {

void appendJsonEnvelope(FrameBuilder& out, std::string_view id, std::string_view channel,
                        std::string_view event, std::string_view data)
{
    out.append("{\"id\":");
    appendJsonString(out, id);
    out.append(",\"channel\":");
    appendJsonString(out, channel);
    out.append(",\"event\":");
    appendJsonString(out, event.empty() ? "message" : event);
    if (validUtf8(data)) {
        out.append(",\"data\":");
        appendJsonString(out, data);
    } else {
        out.append(",\"encoding\":\"base64\",\"data\":\"");
        appendBase64(out, data);
        out.append('"');
    }
    out.append('}');
}

void appendJsonGap(FrameBuilder& out, std::string_view channel, std::string_view data)
{
    out.append("{\"event\":");
    appendJsonString(out, GapEvent);
    out.append(",\"channel\":");
    appendJsonString(out, channel);
    out.append(",\"data\":");
    appendJsonString(out, data);
    out.append('}');
}

} // namespace realtime
