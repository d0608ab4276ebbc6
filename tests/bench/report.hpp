// What was measured: medians, ratios, targets, as a table for people and JSON for programs.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace realtime::bench {

struct Options {
    std::string module;   // ngx_http_realtime_module.so
    std::string nchan;    // ngx_nchan_module.so; empty: not compared
    std::string rabbitmq; // rabbitmq.sh; the broker itself is told by RABBITMQ_AMQP_PORT and RABBITMQ_DIR
    bool quick = false;   // a smoke run: small and short, its numbers mean little

    int rounds() const { return quick ? 3 : 9; }
    // `full`, or less of it in a quick run.
    std::size_t scaled(std::size_t full) const { return quick ? full / 10 : full; }
};

double median(std::vector<double> values); // NaN if there are none
// The value that `share` of `values` do not exceed.
double percentile(std::vector<double> values, double share);

// One of the things that are compared: `round` measures it once.
struct Contender {
    std::string name;
    std::function<double()> round;
    std::vector<double> values = {};
};

// Lets all of them run in turn, `rounds` times, after one round that is not counted.
void alternate(std::vector<Contender>& contenders, int rounds);
// The median of the ratios of each round.
double ratioOf(const Contender& contender, const Contender& yardstick);

struct Row {
    std::string scenario;
    std::string subject; // server, or what of it
    double value = 0;
    std::string unit;
    std::optional<double> low, high; // over the rounds
    std::optional<double> ratio;     // to the scenario's yardstick
    std::optional<double> atMost;    // target: of the ratio if there is one, else of the value
    std::string note = {};

    bool missed() const;
};

class Report {
public:
    void add(Row row); // prints it as well
    // A row a contender; the first is the yardstick. The targets hold for the second, our own.
    void add(std::string_view scenario, std::string_view unit, const std::vector<Contender>& contenders,
             std::optional<double> atMost);

    // Something that must be zero is not: no matter of speed.
    bool broken() const;
    std::string json() const;

private:
    std::vector<Row> rows_;
};

} // namespace realtime::bench
