#include "nginx/conf/commands.hpp"

#include "nginx/conf/block.hpp"

#include <array>
#include <cstdlib>
#include <cstring>

namespace realtime {

namespace {

class CommandTable {
public:
    CommandTable()
    {
        for (const ngx_command_t& command : httpCommands()) {
            add(command);
        }
        // nginx's own `include` is for its own kinds of blocks.
        add({ngx_string("include"), InBroker | InApp | InChannels | NGX_CONF_TAKE1, ngx_conf_include, 0, 0,
             nullptr});
        addBlock(brokerDirectives());
        addBlock(appDirectives());
        addBlock(channelsDirectives());
    }

    ngx_command_t* rows() { return rows_.data(); }

private:
    void add(const ngx_command_t& command)
    {
        if (size_ + 1 == rows_.size()) {
            std::abort(); // when the module is loaded: it has got more directives than there is room for here
        }
        rows_[size_++] = command;
    }

    template <class B> void addBlock(std::span<const Directive<B>> table)
    {
        if (table.size() > Block::MaxDirectives) {
            std::abort();
        }
        for (std::size_t i = 0; i < table.size(); i++) {
            const Directive<B>& row = table[i];
            ngx_str_t name{std::strlen(row.name), reinterpret_cast<u_char*>(const_cast<char*>(row.name))};
            add({name, B::Context | row.arguments, setInBlock<B>, NGX_HTTP_MAIN_CONF_OFFSET, i,
                 const_cast<Directive<B>*>(&row)});
        }
    }

    std::array<ngx_command_t, 128> rows_{};
    std::size_t size_ = 0;
};

} // namespace

ngx_command_t* allCommands()
{
    static CommandTable table;
    return table.rows();
}

} // namespace realtime
