// `pub`: one message, or one for each line of standard input.
#include "commands.hpp"
#include "errors.hpp"
#include "output.hpp"
#include "publisher.hpp"

#include "json.hpp"

#include <algorithm>
#include <array>
#include <iostream>
#include <iterator>
#include <unistd.h>

namespace realtime::cli {

namespace {

constexpr Option OwnPubOptions[] = {
    {"event", "NAME", "the event's name"},
    {"content-type", "TYPE", "what the data is (default: text/plain)"},
    {"idempotency-key", "KEY", "published once, however often it is tried with this key"},
    {"lines", nullptr, "each line of standard input is a message"},
    {"json", nullptr, "print the server's answer as it is"},
    {"quiet", nullptr, "print no id"},
};
constexpr auto PubOptions = joined(OwnPubOptions, CredentialOptions, TransportOptions);

class Publishing {
public:
    explicit Publishing(const Arguments& arguments)
        : Publishing(arguments, parseEndpoint(arguments.operands().front()))
    {
    }

    int run(const Arguments& arguments)
    {
        const auto& operands = arguments.operands();
        if (arguments.has("lines")) {
            std::size_t count = 0;
            for (std::string line; !interrupted() && std::getline(std::cin, line);) {
                if (!line.empty()) {
                    publish(std::move(line));
                    progress_.show("published", ++count, 0);
                }
            }
        } else if (operands.size() > data_ && operands[data_] != "-") {
            publish(operands[data_]);
        } else {
            publish({std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()});
        }
        return status_;
    }

private:
    Publishing(const Arguments& arguments, const Endpoint& endpoint)
        : publisher_(endpoint, transportOf(arguments), credentialsOf(arguments, endpoint)),
          quiet_(arguments.has("quiet")), json_(arguments.has("json")),
          progress_((!quiet_ || json_) && isatty(STDOUT_FILENO) == 1) // else the ids show it
    {
        const auto& operands = arguments.operands();
        if (endpoint.kind == Endpoint::Kind::PusherApi || endpoint.takesChannel()) {
            if (operands.size() < 2) {
                throw UsageError("which channel?");
            }
            publication_.channel = operands[1];
            data_ = 2;
        }
        arguments.expectOperands(1, arguments.has("lines") ? data_ : data_ + 1);
        publication_.event = arguments.text("event").value_or("");
        publication_.contentType = arguments.text("content-type").value_or("");
        publication_.key = arguments.text("idempotency-key").value_or("");
        if (!publication_.key.empty() && arguments.has("lines")) {
            throw UsageError("one key for many lines would publish the first alone");
        }
    }

    void publish(std::string data)
    {
        publication_.data = std::move(data);
        const HttpAnswer answer = publisher_.publish(publication_);
        if (!answer.good()) {
            progress_.clear();
            complain(answer.problem());
            status_ = exit_status::Refused;
        } else if (json_) {
            printLine(std::string_view(answer.body).substr(0, answer.body.find_last_not_of('\n') + 1));
        } else if (const std::string id = Json::parse(answer.body).text("id"); !quiet_ && !id.empty()) {
            printLine(id);
        }
    }

    Publisher publisher_;
    Publication publication_;
    std::size_t data_ = 1; // which operand
    bool quiet_, json_;
    Progress progress_;
    int status_ = exit_status::Good;
};

} // namespace

const Command PubCommand{
    "pub",
    "URL [CHANNEL] [DATA]",
    "publish a message; without DATA, or with -, standard input",
    "URL is a location with realtime_publish that ends in a slash or holds {channel}, or that\n"
    "names its channel itself; or http://HOST/apps/ID, the REST API of the Pusher protocol.\n"
    "Prints the id that the message got.\n",
    PubOptions,
    [](const Arguments& arguments) {
        arguments.expectOperands(1, 3);
        return Publishing(arguments).run(arguments);
    }};

} // namespace realtime::cli
