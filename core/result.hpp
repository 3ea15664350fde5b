// Result<T>: a value or an Error. The data path returns it and does not throw.
#pragma once

#include <boost/system/result.hpp>

#include <memory>
#include <stdexcept>
#include <utility>

#include "core/error.hpp"

namespace parley::core {

/// An Error at the size of two pointers. Results lie in many coroutine frames, which live as long as a stream does, and
/// hardly one of them holds an error.
class BoxedError {
public:
    BoxedError() noexcept = default; // empty: what boost::system::result makes on its way
    BoxedError(Error error) : error_(std::make_shared<Error const>(std::move(error))) {}

    Error const& operator*() const noexcept { return *error_; }

private:
    std::shared_ptr<Error const> error_;
};

template <class T = void>
class Result : public boost::system::result<T, BoxedError> {
    using Base = boost::system::result<T, BoxedError>;

public:
    using Base::Base;

    /// Of a result that has one.
    Error const& error() const& noexcept { return *Base::error(); } // a second owner goes, the error stays
    Error error() && { return *Base::error(); }
};

// Found by ADL when .value() is called on an error: a bug of the caller, hence an exception.
[[noreturn]] inline void throw_exception_from_error(BoxedError const& error, boost::source_location const&) {
    throw std::logic_error("Result read without a check: " + (*error).message + " " + (*error).detail);
}

inline Error make_error(Errc code, std::string message, std::string param = {}, std::string detail = {}) {
    Error error{code, std::move(message), {}};
    error.param = std::move(param);
    error.detail = std::move(detail);
    return error;
}

} // namespace parley::core
