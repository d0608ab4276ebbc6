// Reads JSON text (RFC 8259) without building a tree: what is relayed must stay as it came, byte for byte, so a value is
// a slice of the text. The text is checked once, as a whole; walking it afterwards trusts that.
//
// Thread     pure functions, any thread.
// Ownership  all views are into the text that was parsed.
// Cost       linear in the text, and linear in a value's own text for each level that is walked. Nesting is bounded.
// Strict     one value, white space around it; no comments, trailing commas, byte order mark; UTF-8 throughout, no
//            control characters in strings. An escaped lone surrogate is legal (RFC 8259 8.2), as in JavaScript; it reads
//            as U+FFFD. Numbers may be of any size.
// Duplicates of a member: the last one counts, as in JavaScript.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace realtime::json {

enum class Type : std::uint8_t { Null, False, True, Number, String, Array, Object };

inline constexpr std::size_t DefaultDepth = 32;

// A checked value: only parse(), ArrayReader and ObjectReader make them. Default: absent, which looks like null but for
// its empty text.
struct Value {
    Type type = Type::Null;
    std::string_view raw; // without white space around it; a string with its quotes, as it was escaped

    bool absent() const { return raw.empty(); }
    bool isNull() const { return type == Type::Null; } // or absent
    bool isString() const { return type == Type::String; }
    bool isArray() const { return type == Type::Array; }
    bool isObject() const { return type == Type::Object; }
};

// The value that `text` is, or nothing if it is not valid. Arrays and objects may nest `maxDepth` deep (`[]` is 1 deep);
// at most 1000, since each level takes stack.
std::optional<Value> parse(std::string_view text, std::size_t maxDepth = DefaultDepth);

// The elements of an array, in order. Of any other value: none.
class ArrayReader {
public:
    explicit ArrayReader(const Value& array);
    std::optional<Value> next();

private:
    std::string_view rest_;
};

struct Member {
    std::string_view rawName; // a string with its quotes, as it was escaped
    Value value;
};

// The members of an object, in order, duplicates too. Of any other value: none.
class ObjectReader {
public:
    explicit ObjectReader(const Value& object);
    std::optional<Member> next();

private:
    std::string_view rest_;
};

// One member; absent if there is none, or if it is no object.
Value find(const Value& object, std::string_view name);
// Several members in one pass: out[i] is the one called names[i]. Both have the same size.
void pick(const Value& object, std::span<const std::string_view> names, std::span<Value> out);

// What a string's text stands for: valid UTF-8, perhaps with NULs. `raw` is a Value's, or a Member's rawName.
std::string unescape(std::string_view raw);
// Does it stand for `text`?
bool equals(std::string_view raw, std::string_view text);

// The text of a string; nothing for any other value.
std::optional<std::string> asString(const Value& value);
// A number without fraction and exponent that fits; nothing for any other value.
std::optional<std::int64_t> asInteger(const Value& value);

} // namespace realtime::json
