#include "report.hpp"

#include "serve/process.hpp"

#include "support/files.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <jansson.h>
#include <limits>
#include <memory>
#include <sys/utsname.h>
#include <thread>

namespace realtime::bench {

namespace {

std::string lineOf(const std::string& file, std::string_view key)
{
    for (const std::string& line : testing::split(testing::readFile(file), '\n')) {
        if (line.starts_with(key)) {
            const std::size_t colon = line.find(':');
            return line.substr(colon == std::string::npos ? 0 : std::min(line.size(), colon + 2));
        }
    }
    return {};
}

json_t* text(const std::string& value)
{
    return json_string(value.c_str());
}

json_t* machine()
{
    utsname kernel{};
    uname(&kernel);
    const auto version = testing::run({"/usr/sbin/nginx", "-v"});
    json_t* object = json_object();
    json_object_set_new(object, "cpu", text(lineOf("/proc/cpuinfo", "model name")));
    json_object_set_new(object, "cores", json_integer(std::thread::hardware_concurrency()));
    json_object_set_new(object, "serverCore", json_integer(serverCore()));
    json_object_set_new(object, "clientCore", json_integer(clientCore()));
    json_object_set_new(object, "kernel", text(std::string(kernel.release) + " " + kernel.machine));
    json_object_set_new(object, "nginx", text(version.output.substr(0, version.output.find('\n'))));
    json_object_set_new(object, "congestionControl",
                        text(lineOf("/proc/sys/net/ipv4/tcp_congestion_control", "")));
    json_object_set_new(object, "loadAverage", text(lineOf("/proc/loadavg", "")));
    return object;
}

void setIf(json_t* object, const char* name, const std::optional<double>& value)
{
    if (value) {
        json_object_set_new(object, name, json_real(*value));
    }
}

json_t* toJson(const Row& row)
{
    json_t* object = json_object();
    json_object_set_new(object, "scenario", text(row.scenario));
    json_object_set_new(object, "subject", text(row.subject));
    json_object_set_new(object, "value", json_real(row.value));
    json_object_set_new(object, "unit", text(row.unit));
    setIf(object, "low", row.low);
    setIf(object, "high", row.high);
    setIf(object, "ratio", row.ratio);
    setIf(object, "atMost", row.atMost);
    if (row.atMost) {
        json_object_set_new(object, "missed", json_boolean(row.missed()));
    }
    if (!row.note.empty()) {
        json_object_set_new(object, "note", text(row.note));
    }
    return object;
}

} // namespace

double median(std::vector<double> values)
{
    return percentile(std::move(values), 0.5);
}

double percentile(std::vector<double> values, double share)
{
    if (values.empty()) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
    const auto at = values.begin() + static_cast<std::ptrdiff_t>(std::max<std::size_t>(rank, 1) - 1);
    std::nth_element(values.begin(), at, values.end());
    return *at;
}

void alternate(std::vector<Contender>& contenders, int rounds)
{
    for (int round = 0; round <= rounds; round++) {
        for (Contender& contender : contenders) {
            const double value = contender.round();
            if (round > 0) {
                contender.values.push_back(value);
            }
        }
    }
}

double ratioOf(const Contender& contender, const Contender& yardstick)
{
    std::vector<double> ratios;
    for (std::size_t i = 0; i < contender.values.size(); i++) {
        ratios.push_back(contender.values[i] / yardstick.values[i]);
    }
    return median(ratios);
}

bool Row::missed() const
{
    return atMost && !(ratio.value_or(value) <= *atMost);
}

void Report::add(Row row)
{
    char ratio[16] = "";
    char target[32] = "";
    char range[40] = "";
    if (row.ratio) {
        std::snprintf(ratio, sizeof(ratio), "%.2f x", *row.ratio);
    }
    if (row.atMost) {
        std::snprintf(target, sizeof(target), "at most %g%s %s", *row.atMost, row.ratio ? " x" : "",
                      row.missed() ? "MISSED" : "ok");
    }
    if (row.low && row.high) {
        std::snprintf(range, sizeof(range), "(%.2f-%.2f)", *row.low, *row.high);
    }
    std::printf("%-34s %-26s %9.2f %-6s %-17s %8s  %s %s\n", row.scenario.c_str(), row.subject.c_str(),
                row.value, row.unit.c_str(), range, ratio, target, row.note.c_str());
    std::fflush(stdout);
    rows_.push_back(std::move(row));
}

void Report::add(std::string_view scenario, std::string_view unit, const std::vector<Contender>& contenders,
                 std::optional<double> atMost)
{
    for (std::size_t i = 0; i < contenders.size(); i++) {
        const Contender& one = contenders[i];
        const auto [low, high] = std::minmax_element(one.values.begin(), one.values.end());
        Row row{std::string(scenario), one.name, median(one.values), std::string(unit), *low, *high, {}, {}};
        row.ratio = i == 0 ? std::nullopt : std::optional(ratioOf(one, contenders.front()));
        row.atMost = i == 1 ? atMost : std::nullopt;
        add(std::move(row));
    }
}

bool Report::broken() const
{
    return std::any_of(rows_.begin(), rows_.end(),
                       [](const Row& row) { return row.atMost == 0.0 && row.missed(); });
}

std::string Report::json() const
{
    json_t* results = json_array();
    for (const Row& row : rows_) {
        json_array_append_new(results, toJson(row));
    }
    json_t* all = json_object();
    json_object_set_new(all, "machine", machine());
    json_object_set_new(all, "results", results);
    const std::unique_ptr<char, void (*)(void*)> dumped(json_dumps(all, JSON_INDENT(2)), std::free);
    json_decref(all);
    return std::string(dumped.get()) + "\n";
}

} // namespace realtime::bench
