// Package docs holds tests of the documents of this module: what they name has to exist.
package docs
