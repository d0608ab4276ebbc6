#include "arguments.hpp"

#include "errors.hpp"

#include <charconv>
#include <getopt.h>

namespace realtime::cli {

Arguments::Arguments(std::span<char*> arguments, std::span<const Option> options)
{
    std::vector<option> table;
    table.reserve(options.size() + 1);
    for (const Option& each : options) {
        table.push_back({each.name, each.value != nullptr ? required_argument : no_argument, nullptr, 1});
    }
    table.push_back({});

    std::vector<char*> words{const_cast<char*>("realtime")}; // as argv[0], which getopt leaves alone
    words.insert(words.end(), arguments.begin(), arguments.end());
    words.push_back(nullptr);
    optind = 0;
    opterr = 0;
    int index = 0;
    for (int found; (found = getopt_long(static_cast<int>(words.size()) - 1, words.data(), ":", table.data(),
                                         &index)) != -1;) {
        if (found == ':') {
            throw UsageError(std::string(words[static_cast<std::size_t>(optind) - 1]) + " needs a value");
        }
        if (found == '?') {
            throw UsageError("unknown option " + std::string(words[static_cast<std::size_t>(optind) - 1]));
        }
        values_[table[static_cast<std::size_t>(index)].name].emplace_back(optarg != nullptr ? optarg : "");
    }
    for (auto i = static_cast<std::size_t>(optind); i + 1 < words.size(); ++i) {
        operands_.emplace_back(words[i]);
    }
}

std::optional<std::string> Arguments::text(std::string_view option) const
{
    const auto found = values_.find(option);
    return found == values_.end() ? std::nullopt : std::optional(found->second.back());
}

const std::vector<std::string>& Arguments::all(std::string_view option) const
{
    static const std::vector<std::string> none;
    const auto found = values_.find(option);
    return found == values_.end() ? none : found->second;
}

std::int64_t Arguments::number(std::string_view option, std::int64_t otherwise, std::int64_t least,
                               std::int64_t most) const
{
    const auto given = text(option);
    if (!given) {
        return otherwise;
    }
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(given->data(), given->data() + given->size(), number);
    if (error != std::errc() || end != given->data() + given->size() || number < least || number > most) {
        throw UsageError("--" + std::string(option) + " is a number from " + std::to_string(least) + " to " +
                         std::to_string(most));
    }
    return number;
}

void Arguments::expectOperands(std::size_t least, std::size_t most) const
{
    if (operands_.size() < least) {
        throw UsageError("something is missing");
    }
    if (operands_.size() > most) {
        throw UsageError("what is \"" + operands_[most] + "\" for?");
    }
}

} // namespace realtime::cli
