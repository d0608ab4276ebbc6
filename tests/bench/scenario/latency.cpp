#include "scenario/scenarios.hpp"

namespace realtime::bench {

void latency(const Options& options, Report& report)
{
    (void)options;
    (void)report;
}

} // namespace realtime::bench
