#include "broker/link.hpp"

#include "broker/sqlite_link.hpp"

namespace realtime {

std::unique_ptr<Link> makeLink(const BrokerConfig& config, const BrokerServer& server, LinkOwner& owner)
{
    return std::make_unique<SqliteLink>(config, server, owner);
}

} // namespace realtime
