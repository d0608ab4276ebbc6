#include "base/json_scan.hpp"

#include "base/ascii.hpp"
#include "base/utf8.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace realtime::json {

namespace {

constexpr std::size_t DeepestDepth = 1000;
constexpr std::string_view Replacement = "\xef\xbf\xbd"; // U+FFFD

constexpr bool isSpace(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

// Has the word a byte that ends a run of plain text in a string? Quote, backslash, control character. Exact: the borrow
// of a subtraction errs only above such a byte.
constexpr bool hasStop(std::uint64_t word)
{
    const std::uint64_t quote = word ^ (Ones * '"');
    const std::uint64_t backslash = word ^ (Ones * '\\');
    const std::uint64_t below =
        ((word - Ones * 0x20) & ~word) | ((quote - Ones) & ~quote) | ((backslash - Ones) & ~backslash);
    return (below & HighBits) != 0;
}

constexpr bool isStop(char c)
{
    return c == '"' || c == '\\' || static_cast<std::uint8_t>(c) < 0x20;
}

// To the first byte that ends a run of plain text in a string; eight bytes a step, since strings are most of the text.
const char* skipPlain(const char* at, const char* end)
{
    std::uint64_t word;
    while (static_cast<std::size_t>(end - at) >= sizeof word) {
        std::memcpy(&word, at, sizeof word);
        if (hasStop(word)) {
            break;
        }
        at += sizeof word;
    }
    while (at != end && !isStop(*at)) {
        ++at;
    }
    return at;
}

Type typeOf(char first)
{
    switch (first) {
    case 'n':
        return Type::Null;
    case 'f':
        return Type::False;
    case 't':
        return Type::True;
    case '"':
        return Type::String;
    case '[':
        return Type::Array;
    case '{':
        return Type::Object;
    default:
        return Type::Number;
    }
}

// Checks the grammar of text that is known to be UTF-8. Recursion is bounded by the depth.
class Checker {
public:
    explicit Checker(std::string_view text) : at_(text.data()), end_(at_ + text.size()) {}

    // A value with the white space in front of it.
    bool value(std::size_t depth)
    {
        space();
        if (at_ == end_) {
            return false;
        }
        switch (*at_) {
        case 'n':
            return word("null");
        case 'f':
            return word("false");
        case 't':
            return word("true");
        case '"':
            return string();
        case '[':
            return depth > 0 && array(depth - 1);
        case '{':
            return depth > 0 && object(depth - 1);
        default:
            return number();
        }
    }

    void space()
    {
        while (at_ != end_ && isSpace(*at_)) {
            ++at_;
        }
    }
    const char* at() const { return at_; }

private:
    bool take(char c)
    {
        if (at_ == end_ || *at_ != c) {
            return false;
        }
        ++at_;
        return true;
    }

    bool word(std::string_view expected)
    {
        if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(expected)) {
            return false;
        }
        at_ += expected.size();
        return true;
    }

    bool digits()
    {
        const char* first = at_;
        while (at_ != end_ && isDigit(*at_)) {
            ++at_;
        }
        return at_ != first;
    }

    bool number()
    {
        take('-');
        if (!take('0') && !digits()) {
            return false;
        }
        if (take('.') && !digits()) {
            return false;
        }
        if (take('e') || take('E')) {
            if (!take('+')) {
                take('-');
            }
            return digits();
        }
        return true;
    }

    bool escape()
    {
        if (at_ == end_) {
            return false;
        }
        const char letter = *at_++;
        if (letter != 'u') {
            return std::string_view("\"\\/bfnrt").find(letter) != std::string_view::npos;
        }
        for (int i = 0; i < 4; ++i) {
            if (at_ == end_ || hexValue(*at_) < 0) {
                return false;
            }
            ++at_;
        }
        return true;
    }

    bool string()
    {
        if (!take('"')) {
            return false;
        }
        for (;;) {
            at_ = skipPlain(at_, end_);
            if (take('"')) {
                return true;
            }
            if (!take('\\') || !escape()) {
                return false;
            }
        }
    }

    bool array(std::size_t depth)
    {
        ++at_;
        space();
        if (take(']')) {
            return true;
        }
        do {
            if (!value(depth)) {
                return false;
            }
            space();
        } while (take(','));
        return take(']');
    }

    bool object(std::size_t depth)
    {
        ++at_;
        space();
        if (take('}')) {
            return true;
        }
        do {
            space();
            if (!string()) {
                return false;
            }
            space();
            if (!take(':') || !value(depth)) {
                return false;
            }
            space();
        } while (take(','));
        return take('}');
    }

    const char* at_;
    const char* end_;
};

// --- walking text that has been checked

std::size_t stringEnd(std::string_view text)
{
    const char* const end = text.data() + text.size();
    const char* at = skipPlain(text.data() + 1, end);
    while (*at != '"') {
        at = skipPlain(at + 2, end); // behind a backslash and what it escapes
    }
    return static_cast<std::size_t>(at - text.data()) + 1;
}

// Behind the array or object that begins `text`.
std::size_t containerEnd(std::string_view text)
{
    std::size_t depth = 0;
    std::size_t at = 0;
    do {
        const char c = text[at];
        if (c == '"') {
            at += stringEnd(text.substr(at));
            continue;
        }
        if (c == '[' || c == '{') {
            ++depth;
        } else if (c == ']' || c == '}') {
            --depth;
        }
        ++at;
    } while (depth > 0);
    return at;
}

std::size_t valueEnd(std::string_view text)
{
    switch (text[0]) {
    case '"':
        return stringEnd(text);
    case '[':
    case '{':
        return containerEnd(text);
    default:
        return std::min(text.find_first_of(",]} \t\r\n"), text.size());
    }
}

// Takes white space and the separators `,` and `:` off the front.
void skipBetween(std::string_view& text)
{
    std::size_t at = 0;
    while (at < text.size() && (isSpace(text[at]) || text[at] == ',' || text[at] == ':')) {
        ++at;
    }
    text.remove_prefix(at);
}

Value takeValue(std::string_view& text)
{
    const std::string_view raw = text.substr(0, valueEnd(text));
    text.remove_prefix(raw.size());
    return {typeOf(raw[0]), raw};
}

std::string_view inside(const Value& value, Type type)
{
    return value.type == type ? value.raw.substr(1, value.raw.size() - 2) : std::string_view();
}

// --- strings

// The four digits of a \u escape.
std::uint32_t codeUnit(std::string_view digits)
{
    std::uint32_t unit = 0;
    for (std::size_t i = 0; i < 4; ++i) {
        unit = unit << 4 | static_cast<std::uint32_t>(hexValue(digits[i]));
    }
    return unit;
}

constexpr bool isHighSurrogate(std::uint32_t unit)
{
    return unit >= 0xd800 && unit < 0xdc00;
}

constexpr bool isLowSurrogate(std::uint32_t unit)
{
    return unit >= 0xdc00 && unit < 0xe000;
}

void appendUtf8(std::string& out, std::uint32_t code)
{
    const auto byte = [&out](std::uint32_t value) { out += static_cast<char>(value); };
    if (code < 0x80) {
        byte(code);
    } else if (code < 0x800) {
        byte(0xc0 | code >> 6);
        byte(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        byte(0xe0 | code >> 12);
        byte(0x80 | (code >> 6 & 0x3f));
        byte(0x80 | (code & 0x3f));
    } else {
        byte(0xf0 | code >> 18);
        byte(0x80 | (code >> 12 & 0x3f));
        byte(0x80 | (code >> 6 & 0x3f));
        byte(0x80 | (code & 0x3f));
    }
}

// `text` begins behind "\u". Takes the escape, both of a pair, off it.
void unescapeUnicode(std::string_view& text, std::string& out)
{
    const std::uint32_t unit = codeUnit(text);
    text.remove_prefix(4);
    if (!isHighSurrogate(unit) && !isLowSurrogate(unit)) {
        appendUtf8(out, unit);
        return;
    }
    if (isHighSurrogate(unit) && text.starts_with("\\u")) {
        const std::uint32_t low = codeUnit(text.substr(2));
        if (isLowSurrogate(low)) {
            appendUtf8(out, 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
            text.remove_prefix(6);
            return;
        }
    }
    out += Replacement;
}

char unescapeLetter(char letter)
{
    switch (letter) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return letter; // quote, backslash, slash
    }
}

} // namespace

std::optional<Value> parse(std::string_view text, std::size_t maxDepth)
{
    if (!validUtf8(text)) {
        return std::nullopt;
    }
    Checker checker(text);
    checker.space();
    const char* begin = checker.at();
    if (!checker.value(std::min(maxDepth, DeepestDepth))) {
        return std::nullopt;
    }
    const std::string_view raw(begin, static_cast<std::size_t>(checker.at() - begin));
    checker.space();
    if (checker.at() != text.data() + text.size()) {
        return std::nullopt;
    }
    return Value{typeOf(raw[0]), raw};
}

ArrayReader::ArrayReader(const Value& array) : rest_(inside(array, Type::Array)) {}

std::optional<Value> ArrayReader::next()
{
    skipBetween(rest_);
    if (rest_.empty()) {
        return std::nullopt;
    }
    return takeValue(rest_);
}

ObjectReader::ObjectReader(const Value& object) : rest_(inside(object, Type::Object)) {}

std::optional<Member> ObjectReader::next()
{
    skipBetween(rest_);
    if (rest_.empty()) {
        return std::nullopt;
    }
    const Value name = takeValue(rest_);
    skipBetween(rest_);
    return Member{name.raw, takeValue(rest_)};
}

Value find(const Value& object, std::string_view name)
{
    Value found;
    pick(object, {&name, 1}, {&found, 1});
    return found;
}

void pick(const Value& object, std::span<const std::string_view> names, std::span<Value> out)
{
    std::fill(out.begin(), out.end(), Value());
    ObjectReader reader(object);
    while (const auto member = reader.next()) {
        for (std::size_t i = 0; i < names.size(); ++i) {
            if (equals(member->rawName, names[i])) {
                out[i] = member->value;
                break;
            }
        }
    }
}

std::string unescape(std::string_view raw)
{
    std::string_view text = raw.substr(1, raw.size() - 2);
    std::string out;
    out.reserve(text.size()); // no escape is shorter than what it stands for
    for (;;) {
        const std::size_t plain = std::min(text.find('\\'), text.size());
        out += text.substr(0, plain);
        text.remove_prefix(plain);
        if (text.empty()) {
            return out;
        }
        const char letter = text[1];
        text.remove_prefix(2);
        if (letter == 'u') {
            unescapeUnicode(text, out);
        } else {
            out += unescapeLetter(letter);
        }
    }
}

bool equals(std::string_view raw, std::string_view text)
{
    if (raw.find('\\') == std::string_view::npos) {
        return raw.substr(1, raw.size() - 2) == text;
    }
    // An escape makes a text at most six times as long: what is longer need not be unescaped.
    return raw.size() - 2 <= text.size() * 6 && unescape(raw) == text;
}

std::optional<std::string> asString(const Value& value)
{
    if (!value.isString()) {
        return std::nullopt;
    }
    return unescape(value.raw);
}

std::optional<std::int64_t> asInteger(const Value& value)
{
    if (value.type != Type::Number) {
        return std::nullopt;
    }
    std::int64_t number = 0;
    const char* end = value.raw.data() + value.raw.size();
    const auto [stop, error] = std::from_chars(value.raw.data(), end, number);
    if (error != std::errc() || stop != end) {
        return std::nullopt;
    }
    return number;
}

} // namespace realtime::json
