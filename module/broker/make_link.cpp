#include "broker/amqp/amqp_link.hpp"
#include "broker/link.hpp"
#include "broker/sqlite/sqlite_link.hpp"

namespace realtime {

std::unique_ptr<Link> makeLink(const BrokerConfig& config, const BrokerServer& server, LinkOwner& owner)
{
    if (server.scheme == BrokerServer::Scheme::Sqlite) {
        return std::make_unique<SqliteLink>(config, server, owner);
    }
    return std::make_unique<AmqpLink>(config, server, owner);
}

} // namespace realtime
