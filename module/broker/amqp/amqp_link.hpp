// The store RabbitMQ: declares exchange, queues and bindings, then publishes with confirms.
//
// Messages   persistent and mandatory; properties and headers as docs and design say: delivery_mode 2, content_type,
//            message_id, timestamp (seconds), app_id, type (the event); headers channel, node, and user_id and
//            socket_id where known. Names longer than AMQP can hold are cut at a whole character, with a note: the
//            event matters more than its label.
// Stored     when the broker has confirmed the message and did not return it as unroutable before.
// Failed     returned (basic.return), which has it declare everything again, or refused (basic.nack).
// Broken     on any loss of the connection or channel, and if no confirm comes for confirmTimeout while some are
//            owed and the broker does not say that it is blocked. Refused declarations last (LinkFault).
#pragma once

#include "broker/amqp/amqp_connection.hpp"
#include "broker/amqp/amqp_declarations.hpp"
#include "broker/link.hpp"

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

class AmqpLink final : public Link, private AmqpHandler {
public:
    AmqpLink(const BrokerConfig& config, const BrokerServer& server, LinkOwner& owner);

    LinkState turn(LinkClock::time_point now) override;
    const LinkFault& fault() const override { return connection_.fault(); }
    LinkInterest interest() const override;
    std::size_t room() const override;
    void submit(std::uint64_t handle, const BrokerEvent& event) override;
    void close(LinkClock::time_point deadline) override { connection_.close(deadline); }

private:
    enum class Stage { Connecting, Channel, Declare, Confirm, Ready };

    // A message that is not confirmed yet, or is while an earlier one is not.
    struct Flight {
        std::uint64_t handle;
        std::string_view messageId; // of the owner's event, as it was sent
        bool returned = false;
        bool settled = false;
    };

    void onOpen() override;
    void onMethod(amqp_channel_t channel, const amqp_method_t& method) override;
    void onHeader(amqp_channel_t channel, const amqp_basic_properties_t& properties,
                  std::uint64_t bodySize) override;
    void onBody(amqp_channel_t, std::string_view) override {} // a returned message's: nobody needs it
    void onBlocked(bool blocked, std::string_view reason) override;

    void declareNext();
    void onChannelClose(const amqp_channel_close_t& close);
    void onReturn(const amqp_basic_return_t& returned);
    void declareAgain();
    void onSettled(std::uint64_t tag, bool multiple, bool accepted);
    void settle(Flight& flight, bool accepted);
    std::string_view cut(std::string_view text, std::size_t limit, const char* what);

    const BrokerConfig& config_;
    LinkOwner& owner_;
    AmqpConnection connection_;
    Stage stage_ = Stage::Connecting;
    std::vector<AmqpDeclaration> declarations_;
    std::size_t declared_ = 0;
    bool blocked_ = false;

    std::deque<Flight> flights_;
    std::uint64_t firstTag_ = 1; // delivery tag of flights_.front()
    std::size_t unsettled_ = 0;
    LinkClock::time_point now_;          // of this turn
    LinkClock::time_point lastProgress_; // when the last confirm came, or the first message went out
    LinkClock::time_point declaredAgain_;
};

} // namespace realtime
