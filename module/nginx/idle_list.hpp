// Keep-alive without a timer a connection: connections in the order of their last activity, one list for each
// duration that is to be waited for, and one timer a worker that looks at the heads.
#pragma once

#include "nginx/ngx.hpp"

namespace realtime {

// A place in at most one IdleList; leaves it when destroyed.
class IdleNode {
public:
    IdleNode() = default;
    IdleNode(const IdleNode&) = delete;
    IdleNode& operator=(const IdleNode&) = delete;
    ~IdleNode() { unlink(); }

    bool linked() const { return next_ != nullptr; }
    void unlink()
    {
        if (next_ != nullptr) {
            next_->prev_ = prev_;
            prev_->next_ = next_;
            next_ = prev_ = nullptr;
        }
    }
    ngx_msec_t since() const { return since_; }

private:
    friend class IdleList;
    IdleNode* next_ = nullptr;
    IdleNode* prev_ = nullptr;
    ngx_msec_t since_ = 0; // in ngx_current_msec
};

class IdleList {
public:
    IdleList() { head_.next_ = head_.prev_ = &head_; }
    ~IdleList()
    {
        while (!empty()) {
            head_.next_->unlink();
        }
        head_.next_ = head_.prev_ = nullptr;
    }

    bool empty() const { return head_.next_ == &head_; }
    // To the end, as active at `since`; leaves the list it is in.
    void push(IdleNode& node, ngx_msec_t since)
    {
        node.unlink();
        node.since_ = since;
        node.next_ = &head_;
        node.prev_ = head_.prev_;
        head_.prev_->next_ = &node;
        head_.prev_ = &node;
    }
    // The same for one that may be older than the last: behind those that are older still, as far as a short look
    // finds its place; else it counts as active as late as those it comes behind.
    void insert(IdleNode& node, ngx_msec_t since)
    {
        constexpr int Look = 64;
        node.unlink();
        IdleNode* before = head_.prev_;
        for (int i = 0; before != &head_ && later(before->since_, since); i++) {
            if (i == Look) {
                since = before->since_;
                break;
            }
            before = before->prev_;
        }
        node.since_ = since;
        node.prev_ = before;
        node.next_ = before->next_;
        before->next_->prev_ = &node;
        before->next_ = &node;
    }
    IdleNode* first() const { return empty() ? nullptr : head_.next_; }
    IdleNode* after(const IdleNode& node) const { return node.next_ == &head_ ? nullptr : node.next_; }
    // The first of the list if it has been there for `age` or longer, else null.
    IdleNode* due(ngx_msec_t now, ngx_msec_t age) const
    {
        bool due = !empty() && static_cast<ngx_msec_int_t>(now - head_.next_->since_ - age) >= 0;
        return due ? head_.next_ : nullptr;
    }

private:
    static bool later(ngx_msec_t a, ngx_msec_t b) { return static_cast<ngx_msec_int_t>(a - b) > 0; }

    IdleNode head_;
};

} // namespace realtime
