// `stats`: the figures of realtime_status as a table that is drawn anew.
#include "commands.hpp"
#include "endpoint.hpp"
#include "errors.hpp"
#include "http.hpp"
#include "json.hpp"
#include "output.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <unistd.h>

namespace realtime::cli {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr Option OwnStatsOptions[] = {
    {"interval", "SECONDS", "how often (default: 2)"},
    {"once", nullptr, "just once (the default if the output is no terminal)"},
    {"all", nullptr, "also figures that are 0"},
    {"json", nullptr, "the server's JSON, a line each time"},
};
constexpr auto StatsOptions = joined(OwnStatsOptions, TransportOptions);

struct Figure {
    std::string name, value;
    bool number = false, total = false;
    double amount = 0;
};

void flatten(json_t* value, const std::string& name, std::vector<Figure>& out)
{
    if (json_is_object(value)) {
        const char* key;
        json_t* member;
        json_object_foreach(value, key, member)
        {
            flatten(member, name.empty() ? key : name + '.' + key, out);
        }
    } else if (json_is_array(value)) {
        for (std::size_t i = 0; i < json_array_size(value); ++i) {
            flatten(json_array_get(value, i), name + '.' + std::to_string(i), out);
        }
    } else if (json_is_number(value)) {
        const double amount = json_number_value(value);
        char text[32];
        std::snprintf(text, sizeof text, json_is_integer(value) ? "%.0f" : "%.3f", amount);
        out.push_back({name, text, true, name.find("_total") != std::string::npos, amount});
    } else if (json_is_string(value)) {
        out.push_back({name, json_string_value(value)});
    }
}

class StatsTable {
public:
    explicit StatsTable(bool all) : all_(all) {}

    std::string render(const Json& json)
    {
        std::vector<Figure> figures;
        flatten(json.get(), "", figures);
        std::size_t width = 0;
        for (const Figure& figure : figures) {
            width = std::max(width, figure.name.size());
        }
        const auto now = Clock::now();
        const double seconds = std::chrono::duration<double>(now - last_).count();
        std::string out;
        for (const Figure& figure : figures) {
            if (figure.name != "time_ms" && (all_ || !figure.number || figure.amount != 0)) {
                out += printable(figure.name) + std::string(width + 2 - figure.name.size(), ' ') +
                       printable(figure.value) + rate(figure, seconds) + '\n';
            }
        }
        for (const Figure& figure : figures) {
            before_[figure.name] = figure.amount;
        }
        last_ = now;
        return out;
    }

private:
    std::string rate(const Figure& figure, double seconds) const
    {
        const auto before = before_.find(figure.name);
        if (!figure.total || before == before_.end() || figure.amount <= before->second) {
            return {};
        }
        char text[48];
        std::snprintf(text, sizeof text, "  (%.1f/s)", (figure.amount - before->second) / seconds);
        return text;
    }

    bool all_;
    std::map<std::string, double> before_;
    Clock::time_point last_ = Clock::now();
};

int run(const Arguments& arguments)
{
    arguments.expectOperands(1, 1);
    const std::string url = parseEndpoint(arguments.operands().front()).with("format", "json").httpUrl();
    const bool terminal = isatty(STDOUT_FILENO) == 1;
    const bool once = arguments.has("once") || (!terminal && !arguments.text("interval"));
    const std::chrono::seconds interval(arguments.number("interval", 2, 1, 3'600));
    HttpClient http(transportOf(arguments));
    StatsTable table(arguments.has("all"));
    do {
        const HttpAnswer answer = http.get(url);
        const Json json = Json::parse(answer.body);
        if (!answer.good() || !json_is_object(json.get())) {
            complain(answer.good() ? "the answer is no JSON: is that a location with realtime_status?"
                                   : answer.problem());
            return exit_status::Refused;
        }
        if (arguments.has("json")) {
            printLine(answer.body.substr(0, answer.body.find_last_not_of('\n') + 1));
        } else {
            const std::string text = table.render(json);
            // Home, the table, and away with what is left of the last one.
            printLine(once || !terminal ? text : "\x1b[H\x1b[2J" + text);
        }
        if (!once) {
            sleepUnlessInterrupted(interval);
        }
    } while (!once && !interrupted());
    return exit_status::Good;
}

} // namespace

const Command StatsCommand{
    "stats",      "URL", "the server's figures, again and again", "URL is a location with realtime_status.\n",
    StatsOptions, run};

} // namespace realtime::cli
