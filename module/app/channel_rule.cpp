#include "app/channel_rule.hpp"

#include "base/ascii.hpp"
#include "base/utf8.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace realtime {

namespace {

constexpr std::size_t MaxNameBytes = 200;

// Bounds for one match. A sane pattern needs a few hundred steps for a name of 200 bytes; nested repetition
// would need 2^200. Past them the name counts as not matched. 20,000 steps take about a millisecond at worst.
constexpr std::uint32_t MatchLimit = 20'000;
constexpr std::uint32_t DepthLimit = 2'000;
constexpr std::uint32_t HeapLimitKiB = 1'024;

struct CodeFree {
    void operator()(pcre2_code* p) const noexcept { pcre2_code_free(p); }
};
struct DataFree {
    void operator()(pcre2_match_data* p) const noexcept { pcre2_match_data_free(p); }
};
struct ContextFree {
    void operator()(pcre2_match_context* p) const noexcept { pcre2_match_context_free(p); }
};

bool isNameByte(char c) // as PCRE2 has it for group names, ASCII only
{
    return isAlnum(c) || c == '_';
}

std::optional<std::size_t> parseNumber(std::string_view text)
{
    std::size_t number = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
    if (text.empty() || result.ec != std::errc() || result.ptr != text.data() + text.size()) {
        return std::nullopt;
    }
    return number;
}

PCRE2_SPTR bytes(std::string_view text)
{
    return reinterpret_cast<PCRE2_SPTR>(text.data());
}

[[noreturn]] void throwRegexError(std::string_view text, std::size_t position, int error)
{
    PCRE2_UCHAR reason[256] = "unknown error";
    pcre2_get_error_message(error, reason, sizeof reason);
    throw std::runtime_error("invalid regular expression \"" + std::string(text) + "\" at position " +
                             std::to_string(position) + ": " + reinterpret_cast<const char*>(reason));
}

[[noreturn]] void throwPatternError(std::string_view text, std::size_t position, const char* reason)
{
    throw std::runtime_error("invalid channel pattern \"" + std::string(text) + "\" at position " +
                             std::to_string(position) + ": " + reason);
}

// The literals between the `*`s: a*b*c matches a name that begins with a, ends with c, and has b in between.
class Wildcards {
public:
    explicit Wildcards(std::string_view text)
    {
        for (;;) {
            const std::size_t star = text.find('*');
            literals_.emplace_back(text.substr(0, star));
            if (star == std::string_view::npos) {
                break;
            }
            text.remove_prefix(star + 1);
        }
    }

    std::size_t captures() const { return literals_.size() - 1; }

    // The leftmost place for each literal gives the shortest captures, and leaves the most room for the
    // literals after it: no going back, however hostile the name.
    bool match(std::string_view name, Captures& captures) const
    {
        const std::string_view first = literals_.front(), last = literals_.back();
        if (literals_.size() == 1) {
            return name == first;
        }
        if (name.size() < first.size() + last.size() || !name.starts_with(first) || !name.ends_with(last)) {
            return false;
        }
        const std::string_view between = name.substr(0, name.size() - last.size());
        std::size_t at = first.size();
        for (std::size_t i = 1; i + 1 < literals_.size(); ++i) {
            const std::size_t found = between.find(literals_[i], at);
            if (found == std::string_view::npos) {
                return false;
            }
            captures.numbered.push_back(between.substr(at, found - at));
            at = found + literals_[i].size();
        }
        captures.numbered.push_back(between.substr(at));
        return true;
    }

private:
    std::vector<std::string> literals_; // one more than there are `*`s
};

class Regex {
public:
    explicit Regex(std::string_view text)
    {
        int error = 0;
        std::size_t position = 0;
        // \C could leave a capture in the middle of a character.
        code_.reset(pcre2_compile(bytes(text), text.size(), PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &error,
                                  &position, nullptr));
        if (!code_) {
            throwRegexError(text, position, error);
        }
        // Fails where memory may not be executable; then patterns are interpreted.
        pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);

        context_.reset(pcre2_match_context_create(nullptr));
        data_.reset(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
        if (!context_ || !data_) {
            throw std::bad_alloc();
        }
        pcre2_set_match_limit(context_.get(), MatchLimit);
        pcre2_set_depth_limit(context_.get(), DepthLimit);
        pcre2_set_heap_limit(context_.get(), HeapLimitKiB);
        readNames();
    }

    std::size_t captures() const { return captures_; }
    const std::vector<std::pair<std::string, std::size_t>>& names() const { return names_; }

    bool match(std::string_view name, Captures& captures) const
    {
        int found = run(name, 0);
        if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
            found = run(name, PCRE2_NO_JIT);
        }
        if (found < 0) { // no match, a limit, or not UTF-8
            return false;
        }
        for (std::size_t i = 1; i <= captures_; ++i) {
            captures.numbered.push_back(group(name, i));
        }
        for (const auto& [text, number] : names_) {
            captures.named.emplace_back(text, captures.numbered[number]);
        }
        return true;
    }

private:
    int run(std::string_view name, std::uint32_t options) const
    {
        return pcre2_match(code_.get(), bytes(name), name.size(), 0, options, data_.get(), context_.get());
    }

    // Empty if the group took no part in the match.
    std::string_view group(std::string_view name, std::size_t number) const
    {
        const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data_.get());
        const PCRE2_SIZE from = offsets[2 * number], to = offsets[2 * number + 1];
        return from == PCRE2_UNSET || to > name.size() || from > to ? std::string_view{}
                                                                    : name.substr(from, to - from);
    }

    // pcre2api(3), PCRE2_INFO_NAMETABLE: entries of a fixed size, two bytes of group number and the name.
    void readNames()
    {
        std::uint32_t captures = 0, count = 0, entrySize = 0;
        PCRE2_SPTR table = nullptr;
        pcre2_pattern_info(code_.get(), PCRE2_INFO_CAPTURECOUNT, &captures);
        pcre2_pattern_info(code_.get(), PCRE2_INFO_NAMECOUNT, &count);
        pcre2_pattern_info(code_.get(), PCRE2_INFO_NAMEENTRYSIZE, &entrySize);
        pcre2_pattern_info(code_.get(), PCRE2_INFO_NAMETABLE, &table);
        captures_ = captures;
        for (std::uint32_t i = 0; i < count; ++i, table += entrySize) {
            const std::size_t number = static_cast<std::size_t>(table[0]) << 8 | table[1];
            names_.emplace_back(reinterpret_cast<const char*>(table + 2), number);
        }
    }

    std::unique_ptr<pcre2_code, CodeFree> code_;
    std::unique_ptr<pcre2_match_context, ContextFree> context_;
    std::unique_ptr<pcre2_match_data, DataFree> data_; // scratch space: matching belongs to one thread
    std::size_t captures_ = 0;
    std::vector<std::pair<std::string, std::size_t>> names_;
};

// A pattern that no channel name can match is a mistake.
void checkWildcardText(std::string_view text)
{
    if (text.empty()) {
        throwPatternError(text, 0, "it is empty");
    }
    for (std::size_t at = 0; at < text.size();) {
        const Utf8Step step = utf8Step(text.substr(at));
        if (!step.valid) {
            throwPatternError(text, at, "not UTF-8");
        }
        if (!validChannelName(text.substr(at, step.bytes))) {
            throwPatternError(text, at, "no channel name has control characters");
        }
        at += step.bytes;
    }
}

} // namespace

// --- patterns
// -------------------------------------------------------------------------------------------------

struct ChannelPattern::Impl {
    std::string text;
    std::optional<Regex> regex; // one of the two
    std::optional<Wildcards> wildcards;
};

ChannelPattern::ChannelPattern(std::string_view text) : impl_(std::make_unique<Impl>())
{
    impl_->text = text;
    if (!text.starts_with('~')) {
        checkWildcardText(text);
        impl_->wildcards.emplace(text);
    } else if (text.size() == 1) {
        throwPatternError(text, 1, "the regular expression is empty");
    } else {
        impl_->regex.emplace(text.substr(1));
    }
}

ChannelPattern::~ChannelPattern() = default;
ChannelPattern::ChannelPattern(ChannelPattern&&) noexcept = default;
ChannelPattern& ChannelPattern::operator=(ChannelPattern&&) noexcept = default;

bool ChannelPattern::match(std::string_view channel, Captures& captures) const
{
    captures.numbered.assign(1, channel);
    captures.named.clear();
    const bool matched =
        impl_->regex ? impl_->regex->match(channel, captures) : impl_->wildcards->match(channel, captures);
    if (!matched) {
        captures.numbered.clear();
    }
    return matched;
}

bool ChannelPattern::hasCapture(std::string_view nameOrNumber) const
{
    if (const auto number = parseNumber(nameOrNumber)) {
        return *number <= (impl_->regex ? impl_->regex->captures() : impl_->wildcards->captures());
    }
    if (!impl_->regex) {
        return false;
    }
    const auto& names = impl_->regex->names();
    return std::any_of(names.begin(), names.end(),
                       [&](const auto& name) { return name.first == nameOrNumber; });
}

const std::string& ChannelPattern::text() const
{
    return impl_->text;
}

// --- routing keys
// ---------------------------------------------------------------------------------------------

namespace {

[[noreturn]] void throwKeyError(std::string_view text, const std::string& reason)
{
    throw std::runtime_error("invalid routing key \"" + std::string(text) + "\": " + reason);
}

// Takes a variable's name off `rest`, which stands behind the dollar sign: `name`, `1`, or either in braces.
std::string_view takeVariable(std::string_view text, std::string_view& rest)
{
    const bool braces = rest.starts_with('{');
    if (braces) {
        rest.remove_prefix(1);
    }
    std::size_t size = 0;
    if (!rest.empty() && isDigit(rest[0])) {
        while (size < rest.size() && isDigit(rest[size])) {
            ++size;
        }
    } else {
        while (size < rest.size() && isNameByte(rest[size])) {
            ++size;
        }
    }
    if (size == 0) {
        throwKeyError(text, "no name behind \"$\"; a dollar sign is written \"$$\"");
    }
    const std::string_view name = rest.substr(0, size);
    rest.remove_prefix(size);
    if (braces) {
        if (!rest.starts_with('}')) {
            throwKeyError(text, "no \"}\" behind \"${" + std::string(name) + "\"");
        }
        rest.remove_prefix(1);
    }
    return name;
}

} // namespace

RoutingKey::RoutingKey(std::string_view text, const ChannelPattern* pattern)
{
    const auto literal = [this](std::string_view piece) {
        if (parts_.empty() || parts_.back().kind != Part::Kind::Literal) {
            parts_.push_back({Part::Kind::Literal, {}, 0});
        }
        parts_.back().text += piece;
    };
    const auto variable = [this, text, pattern](std::string_view name) {
        const bool captured = pattern != nullptr && pattern->hasCapture(name);
        const auto own = name == "app"       ? std::optional(Part::Kind::App)
                         : name == "channel" ? std::optional(Part::Kind::Channel)
                         : name == "event"   ? std::optional(Part::Kind::Event)
                                             : std::nullopt;
        if (own && captured) {
            throwKeyError(text, "\"$" + std::string(name) + "\" is a capture too: give that another name");
        }
        if (own) {
            parts_.push_back({*own, {}, 0});
            return;
        }
        if (!captured) {
            throwKeyError(text, "no such capture: \"$" + std::string(name) + "\"");
        }
        const auto number = parseNumber(name);
        parts_.push_back(
            {number ? Part::Kind::Number : Part::Kind::Name, std::string(name), number.value_or(0)});
    };

    for (std::string_view rest = text; !rest.empty();) {
        const std::size_t dollar = rest.find('$');
        if (dollar != 0) {
            literal(rest.substr(0, dollar));
            rest.remove_prefix(std::min(dollar, rest.size()));
            continue;
        }
        rest.remove_prefix(1);
        if (rest.starts_with('$')) {
            literal("$");
            rest.remove_prefix(1);
        } else {
            variable(takeVariable(text, rest));
        }
    }
}

std::string RoutingKey::expand(std::string_view app, std::string_view channel, std::string_view event,
                               const Captures& captures) const
{
    std::string key;
    for (const Part& part : parts_) {
        switch (part.kind) {
        case Part::Kind::Literal:
            key += part.text;
            break;
        case Part::Kind::Number:
            if (part.number < captures.numbered.size()) {
                key += captures.numbered[part.number];
            }
            break;
        case Part::Kind::Name:
            for (const auto& [name, value] : captures.named) {
                if (name == part.text) {
                    key += value;
                    break;
                }
            }
            break;
        case Part::Kind::App:
            key += app;
            break;
        case Part::Kind::Channel:
            key += channel;
            break;
        case Part::Kind::Event:
            key += event;
            break;
        }
    }
    return key;
}

// --- rules
// ----------------------------------------------------------------------------------------------------

std::optional<Rate> parseRate(std::string_view text)
{
    double seconds = 0;
    if (text.ends_with("r/s")) {
        seconds = 1;
    } else if (text.ends_with("r/m")) {
        seconds = 60;
    } else {
        return std::nullopt;
    }
    text.remove_suffix(3);
    constexpr std::size_t MostDigits = 9;
    const auto events = parseNumber(text);
    if (!events || *events == 0 || text.size() > MostDigits) {
        return std::nullopt;
    }
    return Rate{static_cast<double>(*events) / seconds};
}

const ChannelRule* findRule(const std::vector<ChannelRule>& rules, std::string_view channel,
                            Captures& captures)
{
    captures.numbered.clear();
    captures.named.clear();
    for (const ChannelRule& rule : rules) {
        if (!rule.pattern) {
            captures.numbered.assign(1, channel);
            return &rule;
        }
        if (rule.pattern->match(channel, captures)) {
            return &rule;
        }
    }
    return nullptr;
}

bool validChannelName(std::string_view name)
{
    if (name.empty() || name.size() > MaxNameBytes || !validUtf8(name)) {
        return false;
    }
    for (std::size_t i = 0; i < name.size(); ++i) {
        const auto byte = static_cast<std::uint8_t>(name[i]);
        const bool c1 = byte == 0xc2 && static_cast<std::uint8_t>(name[i + 1]) < 0xa0; // U+0080 to U+009F
        if (byte < 0x20 || byte == 0x7f || c1) {
            return false;
        }
    }
    return true;
}

} // namespace realtime
