#include "nginx/outlet.hpp"

#include "nginx/worker.hpp"

namespace realtime {

Outlet::Outlet(Encoding encoding, Endpoint& endpoint, Gauge gauge, Counter connected)
    : Outlet(encoding, endpoint, gauge)
{
    Worker::current()->counters().add(connected);
}

Outlet::Outlet(Encoding encoding, Endpoint& endpoint, Gauge gauge)
    : Subscriber(encoding), endpoint_(endpoint), gauge_(static_cast<std::uint16_t>(gauge))
{
    Worker::current()->counters().add(gauge);
    touch();
}

Outlet::~Outlet()
{
    Worker& worker = *Worker::current();
    worker.hub().leave(*this);
    worker.forget(*this);
    worker.counters().subtract(transport());
}

void Outlet::touch()
{
    if (!leaving_) {
        endpoint_.active.push(*this, ngx_current_msec);
    }
}

void Outlet::setIdle(ngx_msec_t forMs)
{
    endpoint_.adopted.insert(*this, ngx_current_msec - forMs);
}

std::size_t Outlet::historyAllowance()
{
    return Worker::current()->historyAllowance(*this);
}

void Outlet::historySent(std::size_t bytes)
{
    Worker::current()->chargeHistory(*this, bytes);
}

} // namespace realtime
