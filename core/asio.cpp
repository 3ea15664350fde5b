// The part of Asio that is no template (BOOST_ASIO_SEPARATE_COMPILATION, cmake/ParleyDependencies.cmake).
#include <boost/asio/impl/src.hpp>
