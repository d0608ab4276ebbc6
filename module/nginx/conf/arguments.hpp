// What the setters of directives have in common: how arguments are read, and how they are refused. Used while nginx reads
// the configuration, in the master. Whoever refuses throws ConfError; reading() makes one line of it, with file and line.
#pragma once

#include "nginx/conf.hpp"

#include "app/channel_rule.hpp"
#include "nginx/str.hpp"

#include <array>
#include <bitset>
#include <chrono>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace realtime {

// The sentence that `nginx -t` shows.
struct ConfError : std::runtime_error {
    using std::runtime_error::runtime_error;
};
// Of a directive that was read before.
struct ConfErrorAt : ConfError {
    ConfErrorAt(const std::string& text, const ConfPlace& where) : ConfError(text), place(where) {}
    ConfPlace place;
};
// Thrown instead where nginx has shown one already.
struct AlreadyLogged {};

void logAt(ngx_uint_t level, ngx_log_t* log, const std::string& text, const ConfPlace& place);

// Of a directive, its name first.
using Arguments = std::span<ngx_str_t>;

inline Arguments argumentsOf(ngx_conf_t* cf)
{
    return {static_cast<ngx_str_t*>(cf->args->elts), cf->args->nelts};
}

// Runs the body of a directive; an exception is its refusal.
template <class Body> char* reading(ngx_conf_t* cf, Body&& body) noexcept
{
    try {
        body();
        return NGX_CONF_OK;
    } catch (const AlreadyLogged&) {
    } catch (const ConfErrorAt& e) {
        logAt(NGX_LOG_EMERG, cf->log, e.what(), e.place);
    } catch (const std::exception& e) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s", e.what());
    } catch (...) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "unknown exception");
    }
    return static_cast<char*>(NGX_CONF_ERROR);
}

// What may be meant, but is mostly a mistake.
void warn(ngx_conf_t* cf, const std::string& text);
void warnAt(ngx_conf_t* cf, const std::string& text, const ConfPlace& place);

std::string inQuotes(std::string_view text);
std::string joined(std::initializer_list<std::string_view> parts);

// --- enumerated arguments -----------------------------------------------------------------------------------------

// One word that an argument may be, and what it means. Tables of these are the only place where such words stand: the
// refusal lists them.
template <class T> struct Choice {
    std::string_view word;
    T value;
};

inline constexpr Choice<bool> OnOff[] = {{"on", true}, {"off", false}};

// "log, stored or broker"
std::string listed(std::span<const std::string_view> words, std::string_view lastSeparator = " or ");

template <class T, std::size_t N> std::string listed(const Choice<T> (&choices)[N])
{
    std::array<std::string_view, N> words;
    for (std::size_t i = 0; i < N; i++) {
        words[i] = choices[i].word;
    }
    return listed(words);
}

// Null: `word` is none of these.
template <class T, std::size_t N> const T* chosen(const Choice<T> (&choices)[N], std::string_view word)
{
    for (const auto& choice : choices) {
        if (choice.word == word) {
            return &choice.value;
        }
    }
    return nullptr;
}

// An argument of `directive`.
template <class T, std::size_t N>
T choose(std::string_view directive, std::string_view word, const Choice<T> (&choices)[N])
{
    if (const T* value = chosen(choices, word)) {
        return *value;
    }
    throw ConfError("invalid value " + inQuotes(word) + ", " + std::string(directive) + ": " +
                    listed(choices));
}

// The value of the parameter NAME=VALUE.
template <class T, std::size_t N>
T chooseParameter(std::string_view name, std::string_view word, const Choice<T> (&choices)[N])
{
    if (const T* value = chosen(choices, word)) {
        return *value;
    }
    throw ConfError("invalid parameter " + inQuotes(std::string(name) + '=' + std::string(word)) + ", " +
                    std::string(name) + ": " + listed(choices));
}

// --- parameters ---------------------------------------------------------------------------------------------------

// NAME=VALUE, in any order after a directive's own arguments. Twice the same is refused, unless it may be repeated.
template <class Target> struct Parameter {
    std::string_view prefix; // "name="
    void (*set)(Target& target, std::string_view value);
    bool repeats = false;
};

template <class Target, std::size_t N> class Parameters {
public:
    Parameters(const Parameter<Target> (&table)[N], Target& target) : table_(table), target_(target) {}

    // False: it is none of these.
    bool take(std::string_view argument)
    {
        for (std::size_t i = 0; i < N; i++) {
            std::string_view value = argument;
            if (!takePrefix(value, table_[i].prefix)) {
                continue;
            }
            if (seen_.test(i) && !table_[i].repeats) {
                throw ConfError("duplicate parameter " + inQuotes(argument));
            }
            seen_.set(i);
            table_[i].set(target_, value);
            return true;
        }
        return false;
    }

    // `before` the parameters the directive takes these words, too.
    [[noreturn]] void refuse(std::string_view directive, std::string_view argument,
                             std::initializer_list<std::string_view> before = {}) const
    {
        std::vector<std::string_view> words(before);
        for (const auto& parameter : table_) {
            words.push_back(parameter.prefix);
        }
        throw ConfError("invalid parameter " + inQuotes(argument) + ", " + std::string(directive) + ": " +
                        listed(words));
    }

    // All of these are parameters.
    void takeAll(std::string_view directive, Arguments arguments)
    {
        for (const ngx_str_t& argument : arguments) {
            if (!take(view(argument))) {
                refuse(directive, view(argument));
            }
        }
    }

private:
    const Parameter<Target> (&table_)[N];
    Target& target_;
    std::bitset<N> seen_;
};

// --- other values -------------------------------------------------------------------------------------------------

// 1 to 64 printable characters. `what` it is the name of.
std::string parseName(std::string_view name, const char* what);
std::chrono::milliseconds parseTime(std::string_view text);
// In whole seconds, `least` (at least 1) to a day; "off" is 0 if `least` is.
std::uint32_t parseSeconds(std::string_view text, std::uint32_t least);
// 1 to `most`.
std::uint32_t parseCount(std::string_view text, std::uint32_t most);
// Bytes, at least so many.
std::uint64_t parseSize(std::string_view text, std::uint64_t least);
// The value of rate=, such as 50r/s or 30r/m.
Rate parseRateParameter(std::string_view value);
void addOrigins(ngx_conf_t* cf, std::vector<std::string>& origins, Arguments arguments);
// Letters that have to be changed, added or taken away to make one word of the other.
std::size_t editDistance(std::string_view a, std::string_view b);
// As nginx's own files: relative to the prefix, or to the directory of nginx.conf.
std::string fullPath(ngx_conf_t* cf, std::string_view path, bool besideConfiguration);
// A file beside nginx.conf that can be read.
std::string readableFile(ngx_conf_t* cf, std::string_view path);

} // namespace realtime
