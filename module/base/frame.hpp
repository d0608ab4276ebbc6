// Bytes that are encoded once and shared by every connection they go to.
//
// Thread     the reference count is not atomic: frames belong to one event loop and never leave its thread.
// Ownership  FramePtr counts; the last one frees. A Frame is written while it has one owner and is immutable
// from
//            then on.
// Memory     one allocation a frame, header in front of the bytes.
// Errors     std::bad_alloc, nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

namespace realtime {

class FramePtr;

class Frame {
public:
    // Uninitialised bytes, writable until the frame is shared. 0 bytes are legal.
    static FramePtr make(std::size_t bytes);
    static FramePtr copy(std::string_view bytes);

    std::byte* data() { return reinterpret_cast<std::byte*>(this + 1) + offset_; }
    const std::byte* data() const { return reinterpret_cast<const std::byte*>(this + 1) + offset_; }
    std::size_t size() const { return size_; }
    std::string_view view() const { return {reinterpret_cast<const char*>(data()), size_}; }
    bool shared() const { return references_ > 1; }

    Frame(const Frame&) = delete;
    Frame& operator=(const Frame&) = delete;

private:
    friend class FramePtr;
    friend class FrameBuilder;
    Frame(std::size_t size, std::uint32_t offset) : size_(size), offset_(offset) {}
    ~Frame() = default;

    std::size_t size_;
    std::uint32_t offset_; // of the bytes behind this header: what a FrameBuilder left of its headroom
    std::uint32_t references_ = 1;
};

// What keeping a frame takes beside its bytes: its header, and what the allocator adds.
inline constexpr std::size_t FrameOverhead = sizeof(Frame) + 2 * sizeof(void*);

// An owner of a Frame, or null.
class FramePtr {
public:
    FramePtr() = default;
    FramePtr(std::nullptr_t) {}
    FramePtr(const FramePtr& other) : frame_(other.frame_)
    {
        if (frame_ != nullptr) {
            ++frame_->references_;
        }
    }
    FramePtr(FramePtr&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    FramePtr& operator=(FramePtr other) noexcept
    {
        std::swap(frame_, other.frame_);
        return *this;
    }
    ~FramePtr()
    {
        if (frame_ != nullptr && --frame_->references_ == 0) {
            destroy(frame_);
        }
    }

    Frame* get() const { return frame_; }
    Frame& operator*() const { return *frame_; }
    Frame* operator->() const { return frame_; }
    explicit operator bool() const { return frame_ != nullptr; }
    friend bool operator==(const FramePtr&, const FramePtr&) = default;

    // Through C: release() gives up the reference without dropping it, adopt() takes it back, once.
    [[nodiscard]] Frame* release() { return std::exchange(frame_, nullptr); }
    [[nodiscard]] static FramePtr adopt(Frame* frame)
    {
        FramePtr owner;
        owner.frame_ = frame;
        return owner;
    }

private:
    static void destroy(Frame* frame);

    Frame* frame_ = nullptr;
};

// Builds a frame of a size not known beforehand, in place: finish() does not copy. Reusable after finish().
class FrameBuilder {
public:
    // What prepend() may add in all: room for a WebSocket header (10) or an HTTP chunk's head (18).
    static constexpr std::size_t Headroom = 24;

    explicit FrameBuilder(std::size_t expectedBytes = 0);
    ~FrameBuilder();
    FrameBuilder(FrameBuilder&& other) noexcept;
    FrameBuilder& operator=(FrameBuilder&& other) noexcept;

    void append(std::string_view bytes)
    {
        if (!bytes.empty()) { // memcpy from a null view is undefined
            std::memcpy(extend(bytes.size()), bytes.data(), bytes.size());
        }
    }
    void append(char byte) { *extend(1) = byte; }
    void number(std::uint64_t value); // decimal

    // Appends so many uninitialised bytes for the caller to write; valid until the next call.
    char* extend(std::size_t bytes)
    {
        if (bytes > capacity_ - end_) {
            grow(bytes);
        }
        char* at = memory_ + end_;
        end_ += bytes;
        return at;
    }
    // In front of what is there. Throws std::length_error past Headroom.
    void prepend(std::string_view bytes);

    std::size_t size() const { return end_ - begin_; }
    std::string_view view() const { return {memory_ + begin_, size()}; }

    FramePtr finish();

private:
    static constexpr std::size_t Start = sizeof(Frame) + Headroom;
    void grow(std::size_t bytes);
    void forget();

    char* memory_ = nullptr; // room for the Frame's header, the headroom, the bytes
    std::size_t begin_ = 0;  // all three are offsets into memory_
    std::size_t end_ = 0;
    std::size_t capacity_ = 0;
};

} // namespace realtime
