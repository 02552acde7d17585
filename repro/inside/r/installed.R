# Write this R's version and the packages that are installed, in the format of `r-dependencies.txt`, to the given file.
path <- commandArgs(trailingOnly = TRUE)[[1L]]
r <- data.frame(RVersion = paste(R.version$major, R.version$minor, sep = "."), Platform = R.version$platform)
write.dcf(r, path)
found <- installed.packages(noCache = TRUE)
found <- found[!duplicated(found[, "Package"]), , drop = FALSE]
found <- found[is.na(found[, "Priority"]) | found[, "Priority"] != "base", , drop = FALSE]
if (nrow(found)) {
  cat("\n", file = path, append = TRUE)
  write.dcf(data.frame(Package = found[, "Package"], Source = "unknown", Version = found[, "Version"]), path, append = TRUE)
}
