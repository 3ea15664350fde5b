// Result<T>: a value or an Error. The data path returns it and does not throw.
#pragma once

#include <boost/system/result.hpp>

#include <stdexcept>
#include <utility>

#include "core/error.hpp"

namespace parley::core {

template <class T = void>
using Result = boost::system::result<T, Error>;

// Found by ADL when .value() is called on an error: a bug of the caller, hence an exception.
[[noreturn]] inline void throw_exception_from_error(Error const& error, boost::source_location const&) {
    throw std::logic_error("Result read without a check: " + error.message + " " + error.detail);
}

inline Error make_error(Errc code, std::string message, std::string param = {}, std::string detail = {}) {
    Error error{code, std::move(message), {}};
    error.param = std::move(param);
    error.detail = std::move(detail);
    return error;
}

} // namespace parley::core
