// Loads an image with data-src when it comes near the window.
document.addEventListener("DOMContentLoaded", () => {
  const watcher = new IntersectionObserver((sights) => {
    for (const sight of sights.filter((each) => each.isIntersecting)) {
      sight.target.src = sight.target.dataset.src
      watcher.unobserve(sight.target)
    }
  }, { rootMargin: "200px" })
  document.querySelectorAll("img[data-src]").forEach((image) => watcher.observe(image))
})
