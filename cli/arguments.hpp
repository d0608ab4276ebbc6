// The command line of one command: long options, then operands; both in any order.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace realtime::cli {

struct Option {
    const char* name;  // without the dashes
    const char* value; // what its value is called in the help; null: it has none
    const char* help;
};

// The options of a command are made of several tables.
template <std::size_t... Sizes> constexpr auto joined(const Option (&... tables)[Sizes])
{
    std::array<Option, (Sizes + ...)> all{};
    auto at = all.begin();
    ((at = std::copy(std::begin(tables), std::end(tables), at)), ...);
    return all;
}

class Arguments {
public:
    // `arguments` begins behind the command's name. Throws UsageError for what `options` does not have.
    Arguments(std::span<char*> arguments, std::span<const Option> options);

    bool has(std::string_view option) const { return values_.contains(option); }
    // The last value given.
    std::optional<std::string> text(std::string_view option) const;
    const std::vector<std::string>& all(std::string_view option) const;
    // Throws UsageError if it is no number, or not within these bounds.
    std::int64_t number(std::string_view option, std::int64_t otherwise, std::int64_t least,
                        std::int64_t most) const;

    const std::vector<std::string>& operands() const { return operands_; }
    // Throws UsageError unless there are so many.
    void expectOperands(std::size_t least, std::size_t most) const;

private:
    std::map<std::string, std::vector<std::string>, std::less<>> values_;
    std::vector<std::string> operands_;
};

} // namespace realtime::cli
