// The module's broker (broker/broker.hpp) under load, without nginx: events are offered as fast as it takes them.
#pragma once

#include "load/loop.hpp"

#include "broker/broker.hpp"

#include <cstddef>

namespace realtime::bench {

double secondsSince(Clock::time_point start);

// One of fifty channels; ids differ in all of a program's run, and from those of others.
BrokerEvent makeEvent(std::size_t number, std::size_t bytes);

// Events a second, from the first offer to the last completion. `up`: waits until the broker is, before it begins.
// Throws if not everything was stored.
double storeAll(const BrokerConfig& config, std::size_t events, std::size_t bytes, bool up = true);

// Events a second, from the moment when the broker is up until it has confirmed so many, which its spool has.
double drain(const BrokerConfig& config, std::size_t events);

} // namespace realtime::bench
