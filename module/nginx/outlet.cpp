#include "nginx/outlet.hpp"

#include "nginx/worker.hpp"

namespace realtime {

Outlet::Outlet(Encoding encoding, Endpoint& endpoint, Gauge gauge, Counter connected)
    : Subscriber(encoding), endpoint_(endpoint), gauge_(gauge)
{
    Worker::current()->counters().add(gauge);
    Worker::current()->counters().add(connected);
    touch();
}

Outlet::~Outlet()
{
    Worker& worker = *Worker::current();
    worker.hub().leave(*this);
    worker.forget(*this);
    worker.counters().subtract(gauge_);
}

void Outlet::touch()
{
    if (!leaving_) {
        endpoint_.active.push(*this, ngx_current_msec);
    }
}

} // namespace realtime
