#include "broker/amqp/amqp_declarations.hpp"

#include <algorithm>

namespace realtime {

namespace {

using Kind = AmqpDeclaration::Kind;

const std::string& exchangeOf(const BrokerConfig& config, const QueueConfig& queue)
{
    return queue.exchange.empty() ? config.exchange.name : queue.exchange;
}

bool declareQueue(AmqpConnection& connection, amqp_channel_t channel, const QueueConfig& config)
{
    std::vector<amqp_table_entry_t> entries{tableEntry("x-queue-type", config.type)};
    for (const auto& argument : config.arguments) {
        amqp_table_entry_t entry = trueEntry(argument.name);
        if (const auto* text = std::get_if<std::string>(&argument.value)) {
            entry = tableEntry(argument.name, *text);
        } else if (const auto* number = std::get_if<std::int64_t>(&argument.value)) {
            entry = tableEntry(argument.name, *number);
        } else {
            entry.value.value.boolean = std::get<bool>(argument.value) ? 1 : 0;
        }
        entries.push_back(entry);
    }
    amqp_queue_declare_t queue{};
    queue.queue = amqpBytes(config.name);
    queue.durable = 1;
    queue.arguments = {static_cast<int>(entries.size()), entries.data()};
    return connection.send(channel, AMQP_QUEUE_DECLARE_METHOD, &queue);
}

bool bindQueue(AmqpConnection& connection, amqp_channel_t channel, const AmqpDeclaration& declaration)
{
    amqp_queue_bind_t binding{};
    binding.queue = amqpBytes(declaration.name);
    binding.exchange = amqpBytes(declaration.exchange);
    if (!declaration.byHeaders || declaration.argument == "#") {
        binding.routing_key = amqpBytes(declaration.argument);
        return connection.send(channel, AMQP_QUEUE_BIND_METHOD, &binding);
    }
    std::vector<amqp_table_entry_t> entries{tableEntry("x-match", "all")};
    for (std::string_view rest = declaration.argument; !rest.empty();) {
        const auto end = std::min(rest.find(','), rest.size());
        const auto pair = rest.substr(0, end);
        const auto colon = std::min(pair.find(':'), pair.size());
        entries.push_back(tableEntry(pair.substr(0, colon), pair.substr(std::min(colon + 1, pair.size()))));
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    binding.arguments = {static_cast<int>(entries.size()), entries.data()};
    return connection.send(channel, AMQP_QUEUE_BIND_METHOD, &binding);
}

// `wanted`: null for all.
std::vector<AmqpDeclaration> plan(const BrokerConfig& config, const std::string_view* wanted)
{
    std::vector<const QueueConfig*> queues;
    for (const auto& queue : config.queues) {
        if (wanted == nullptr || queue.name == *wanted) {
            queues.push_back(&queue);
        }
    }
    std::vector<const ExchangeConfig*> exchanges{&config.exchange};
    for (const auto& exchange : config.moreExchanges) {
        exchanges.push_back(&exchange);
    }
    const auto isWanted = [&](const ExchangeConfig& exchange) {
        return wanted == nullptr || std::any_of(queues.begin(), queues.end(), [&](const QueueConfig* queue) {
                   return exchangeOf(config, *queue) == exchange.name;
               });
    };
    std::vector<AmqpDeclaration> declarations;
    for (const auto* exchange : exchanges) {
        if (!exchange->name.empty() && isWanted(*exchange)) { // the default exchange is always there
            declarations.push_back({Kind::Exchange, exchange->name, exchange->type});
        }
    }
    for (const auto* queue : queues) {
        declarations.push_back(
            {.kind = Kind::Queue, .name = queue->name, .argument = queue->type, .queue = queue});
        const auto& name = exchangeOf(config, *queue);
        if (name.empty()) {
            continue; // which binds every queue by its name
        }
        const auto exchange = std::find_if(exchanges.begin(), exchanges.end(),
                                           [&](const auto* one) { return one->name == name; });
        const bool byHeaders = exchange != exchanges.end() && (*exchange)->type == "headers";
        for (const auto& key : queue->bindings) {
            declarations.push_back({Kind::Binding, queue->name, key, name, byHeaders, queue});
        }
    }
    return declarations;
}

} // namespace

std::vector<AmqpDeclaration> amqpDeclarations(const BrokerConfig& config)
{
    return plan(config, nullptr);
}

std::vector<AmqpDeclaration> amqpDeclarations(const BrokerConfig& config, std::string_view queue)
{
    return plan(config, &queue);
}

bool declare(AmqpConnection& connection, amqp_channel_t channel, const AmqpDeclaration& declaration)
{
    if (declaration.name.size() > MaxShortString || declaration.argument.size() > MaxShortString) {
        return false;
    }
    switch (declaration.kind) {
    case Kind::Exchange: {
        amqp_exchange_declare_t exchange{};
        exchange.exchange = amqpBytes(declaration.name);
        exchange.type = amqpBytes(declaration.argument);
        exchange.durable = 1;
        return connection.send(channel, AMQP_EXCHANGE_DECLARE_METHOD, &exchange);
    }
    case Kind::Queue:
        return declareQueue(connection, channel, *declaration.queue);
    case Kind::Binding:
        return bindQueue(connection, channel, declaration);
    }
    return false;
}

std::string describe(const AmqpDeclaration& declaration)
{
    const auto& name = declaration.name;
    const auto& argument = declaration.argument;
    switch (declaration.kind) {
    case Kind::Exchange:
        return "declaring exchange \"" + name + "\" (" + argument + ", durable)";
    case Kind::Queue:
        return "declaring queue \"" + name + "\" (" + argument + ", durable)";
    case Kind::Binding:
        return "binding queue \"" + name + "\" to exchange \"" + declaration.exchange + "\" by \"" +
               argument + "\"";
    }
    return {};
}

} // namespace realtime
