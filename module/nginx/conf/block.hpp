// What the blocks of this module have in common: each has a table of its directives, a row for each.
//
// To add a directive to a block: a row in the table at the end of its file (broker_block.cpp, app_block.cpp,
// channels_block.cpp), its setter above, a paragraph in docs/directives.md, a case in tests/integration/config_test.cpp.
// That it stands once is seen to here; what it refuses, its setter throws (ConfError).
#pragma once

#include "nginx/conf.hpp"

#include "nginx/conf/arguments.hpp"

#include <bitset>
#include <span>

namespace realtime {

// Types of directives within our blocks, as NGX_HTTP_UPS_CONF is for `upstream`. No http module uses these bits.
inline constexpr ngx_uint_t InBroker = 0x00100000;
inline constexpr ngx_uint_t InApp = 0x00200000;
inline constexpr ngx_uint_t InChannels = 0x00400000;

// A block that is being read. While it is, ngx_conf_t::handler_conf points to it; nginx uses that only together with
// ngx_conf_t::handler, which stays null.
struct Block {
    static constexpr std::size_t MaxDirectives = 64;

    ngx_conf_t* cf;
    MainConf& main;
    std::bitset<MaxDirectives> seen; // the rows of its table that it has had

    Block(ngx_conf_t* conf, MainConf& mainConf) : cf(conf), main(mainConf) {}
};

struct BrokerBlock : Block {
    static constexpr ngx_uint_t Context = InBroker;
    BrokerConf& broker;
    bool queues = false; // it has named one, or said that there are none
    bool queuesOff = false;

    BrokerBlock(ngx_conf_t* conf, MainConf& mainConf, BrokerConf& its) : Block(conf, mainConf), broker(its) {}
};

struct AppBlock : Block {
    static constexpr ngx_uint_t Context = InApp;
    AppConf& app;

    AppBlock(ngx_conf_t* conf, MainConf& mainConf, AppConf& its) : Block(conf, mainConf), app(its) {}
};

struct ChannelsBlock : Block {
    static constexpr ngx_uint_t Context = InChannels;
    AppConf& app;
    ChannelRule& rule;

    ChannelsBlock(const AppBlock& around, ChannelRule& its)
        : Block(around.cf, around.main), app(around.app), rule(its)
    {
    }
};

enum class Occurs { Once, Often };

template <class B> struct Directive {
    const char* name;
    ngx_uint_t arguments; // how many: NGX_CONF_TAKE1 and the like, with NGX_CONF_BLOCK if it is a block
    Occurs occurs;
    void (*set)(B& block, Arguments arguments);
};

// Their tables.
std::span<const Directive<BrokerBlock>> brokerDirectives();
std::span<const Directive<AppBlock>> appDirectives();
std::span<const Directive<ChannelsBlock>> channelsDirectives();

// Reads what stands between its braces; throws AlreadyLogged if that is refused. Afterwards the arguments of the block's
// own directive are gone.
template <class B> void readBlock(B& block)
{
    ngx_conf_t saved = *block.cf;
    block.cf->cmd_type = B::Context;
    block.cf->handler_conf = reinterpret_cast<char*>(&block);
    char* result = ngx_conf_parse(block.cf, nullptr);
    *block.cf = saved;
    if (result != NGX_CONF_OK) {
        throw AlreadyLogged();
    }
}

// The function of a row for nginx: `post` points to the row, `offset` is its number.
template <class B> char* setInBlock(ngx_conf_t* cf, ngx_command_t* command, void*)
{
    auto& block = *reinterpret_cast<B*>(cf->handler_conf);
    const auto& row = *static_cast<const Directive<B>*>(command->post);
    if (row.occurs == Occurs::Once && block.seen.test(command->offset)) {
        return const_cast<char*>("is duplicate");
    }
    block.seen.set(command->offset);
    return reading(cf, [&] { row.set(block, argumentsOf(cf)); });
}

} // namespace realtime
