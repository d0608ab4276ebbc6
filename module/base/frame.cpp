#include "base/frame.hpp"

#include <charconv>
#include <cstdlib>
#include <limits>
#include <new>
#include <stdexcept>

namespace realtime {

namespace {

constexpr std::size_t MostBytes = std::numeric_limits<std::size_t>::max() / 4; // sums of two cannot overflow
constexpr std::size_t SmallestCapacity = 256;

} // namespace

FramePtr Frame::make(std::size_t bytes)
{
    if (bytes > MostBytes) {
        throw std::bad_alloc();
    }
    void* memory = std::malloc(sizeof(Frame) + bytes);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return FramePtr::adopt(new (memory) Frame(bytes, 0));
}

FramePtr Frame::copy(std::string_view bytes)
{
    FramePtr frame = make(bytes.size());
    if (!bytes.empty()) {
        std::memcpy(frame->data(), bytes.data(), bytes.size());
    }
    return frame;
}

void FramePtr::destroy(Frame* frame)
{
    frame->~Frame();
    std::free(frame);
}

FrameBuilder::FrameBuilder(std::size_t expectedBytes)
{
    if (expectedBytes > 0) {
        grow(expectedBytes);
    }
}

FrameBuilder::~FrameBuilder()
{
    std::free(memory_);
}

FrameBuilder::FrameBuilder(FrameBuilder&& other) noexcept
    : memory_(other.memory_), begin_(other.begin_), end_(other.end_), capacity_(other.capacity_)
{
    other.forget();
}

FrameBuilder& FrameBuilder::operator=(FrameBuilder&& other) noexcept
{
    if (this != &other) {
        std::free(memory_);
        memory_ = other.memory_;
        begin_ = other.begin_;
        end_ = other.end_;
        capacity_ = other.capacity_;
        other.forget();
    }
    return *this;
}

void FrameBuilder::forget()
{
    memory_ = nullptr;
    begin_ = end_ = capacity_ = 0;
}

void FrameBuilder::grow(std::size_t bytes)
{
    const std::size_t used = memory_ == nullptr ? Start : end_;
    if (bytes > MostBytes - used) {
        throw std::bad_alloc();
    }
    std::size_t capacity = memory_ == nullptr ? 0 : capacity_ * 2;
    if (capacity < used + bytes) {
        capacity = used + bytes;
    }
    if (capacity < SmallestCapacity) {
        capacity = SmallestCapacity;
    }
    auto* memory = static_cast<char*>(std::realloc(memory_, capacity));
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    if (memory_ == nullptr) {
        begin_ = end_ = Start;
    }
    memory_ = memory;
    capacity_ = capacity;
}

void FrameBuilder::number(std::uint64_t value)
{
    char digits[20]; // 2^64 - 1 has 20
    const auto result = std::to_chars(digits, digits + sizeof digits, value);
    append(std::string_view(digits, static_cast<std::size_t>(result.ptr - digits)));
}

void FrameBuilder::prepend(std::string_view bytes)
{
    if (memory_ == nullptr) {
        grow(bytes.size());
    }
    if (bytes.size() > begin_ - sizeof(Frame)) {
        throw std::length_error("a frame's headroom is used up");
    }
    if (!bytes.empty()) {
        begin_ -= bytes.size();
        std::memcpy(memory_ + begin_, bytes.data(), bytes.size());
    }
}

FramePtr FrameBuilder::finish()
{
    if (memory_ == nullptr) {
        return Frame::make(0);
    }
    // Frames wait in queues: what doubling left unused is given back, where it is worth a call.
    if (capacity_ - end_ > SmallestCapacity) {
        if (void* smaller = std::realloc(memory_, end_)) {
            memory_ = static_cast<char*>(smaller);
        }
    }
    auto* frame = new (memory_) Frame(size(), static_cast<std::uint32_t>(begin_ - sizeof(Frame)));
    forget();
    return FramePtr::adopt(frame);
}

} // namespace realtime
