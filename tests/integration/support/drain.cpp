#include "support/drain.hpp"

#include "support/files.hpp"

namespace realtime::testing {

std::vector<Delivery> drain(const RabbitMq& server, const std::string& queue, Drain kind,
                            std::chrono::seconds idle)
{
    const std::string script = REALTIME_SOURCE_DIR "/tests/consumer/drain.js";
    std::vector<std::string> command{"node", script, server.url(), queue,
                                     "--idle=" + std::to_string(idle.count())};
    if (kind == Drain::Stream) {
        command.emplace_back("--stream");
    }
    const auto done = run(command, {}, 300s);
    if (done.status != 0) {
        throw std::runtime_error("drain.js: " + done.output);
    }
    std::vector<Delivery> deliveries;
    for (const std::string& line : split(done.output, '\n')) {
        if (const auto tab = line.find('\t'); tab != std::string::npos) {
            deliveries.push_back({line.substr(0, tab), line.substr(tab + 1)});
        }
    }
    return deliveries;
}

} // namespace realtime::testing
