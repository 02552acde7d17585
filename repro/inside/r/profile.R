# What an R process of a run starts with (R_PROFILE_USER): first the profile that this one hides, then `param`,
# `log_param`, `log_metric` and `log_artifact`, and a note of the packages that are loaded when it ends.
# Base R only; httr and jsonlite, where they are installed, talk to the run's tracking server, else its files are written.

local({
  hidden <- Sys.getenv("REPRO_R_PROFILE")
  places <- if (nzchar(hidden)) hidden else c(".Rprofile", file.path(Sys.getenv("HOME"), ".Rprofile"))
  found <- places[file.exists(places)]
  if (length(found)) sys.source(found[[1L]], envir = globalenv())
})

local({
  fail <- function(...) stop(..., call. = FALSE)

  # Parameters -------------------------------------------------------------------------------------------------------

  words <- list(string = "string", character = "string", numeric = "numeric", double = "numeric", integer = "integer",
                bool = "bool", logical = "bool")
  truth <- c(true = TRUE, yes = TRUE, "1" = TRUE, "t" = TRUE, false = FALSE, no = FALSE, "0" = FALSE, "f" = FALSE)
  number <- "^[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]+)?$|^[-+]?(inf|infinity|nan)$"

  find_argument <- function(name) {
    arguments <- commandArgs(trailingOnly = TRUE)
    if (length(arguments) && arguments[[1L]] == "--args") arguments <- arguments[-1L]
    found <- NULL
    for (at in seq_along(arguments)) {
      word <- arguments[[at]]
      if (!startsWith(word, "--")) next
      key <- sub("=.*$", "", word)
      if (gsub("-", "_", substring(key, 3L)) != gsub("-", "_", name)) next
      if (grepl("=", word, fixed = TRUE)) found <- sub("^[^=]*=", "", word)
      else if (at < length(arguments)) found <- arguments[[at + 1L]]
      else fail("the parameter `", name, "` has no value behind `", word, "`")
    }
    found
  }

  cast <- function(name, value, type, what) {
    wrong <- function()
      fail("the ", what, " of parameter `", name, "` must be of type ", type, ", and `", toString(value), "` is not")
    if (length(value) != 1L || is.na(value) && !is.numeric(value)) wrong()
    text <- trimws(as.character(value))
    made <- suppressWarnings(switch(type,
      string = as.character(value),
      numeric = if (is.numeric(value)) as.numeric(value)
                else if (is.character(value) && grepl(number, text, ignore.case = TRUE)) as.numeric(text) else NA,
      integer = if (is.logical(value)) NA
                else if (is.numeric(value)) (if (is.finite(value) && value == trunc(value)) as.integer(value) else NA)
                else if (grepl("^[-+]?[0-9]+$", text)) as.integer(text) else NA,
      bool = if (is.logical(value)) value else unname(truth[tolower(text)])))
    if (is.na(made) && !is.nan(made)) wrong()
    made
  }

  param <- function(name, default = NULL, type = NULL, description = NULL) {
    if (is.null(type) && is.null(default)) fail("the parameter `", name, "` has neither a default nor a type")
    given_type <- if (is.null(type)) typeof(default) else as.character(type)
    wanted <- words[[given_type, exact = TRUE]]
    if (is.null(wanted)) fail("the parameter `", name, "` has the unknown type `", given_type, "`")
    fallback <- if (is.null(default)) NULL else cast(name, default, wanted, "default")
    given <- find_argument(name)
    if (!is.null(given)) return(cast(name, given, wanted, "value"))
    if (is.null(fallback)) fail("the parameter `", name, "` needs a value: run the script with `--", name, " VALUE`")
    fallback
  }

  # Logging ----------------------------------------------------------------------------------------------------------

  run_id <- function() Sys.getenv("MLFLOW_RUN_ID")

  is_served <- function() {
    grepl("^https?://", Sys.getenv("MLFLOW_TRACKING_URI")) && Sys.getenv("REPRO_R_TRANSPORT") != "files" &&
      requireNamespace("httr", quietly = TRUE) && requireNamespace("jsonlite", quietly = TRUE)
  }

  authorize <- function() {
    token <- Sys.getenv("MLFLOW_TRACKING_TOKEN")
    user <- Sys.getenv("MLFLOW_TRACKING_USERNAME")
    if (nzchar(token)) httr::add_headers(Authorization = paste("Bearer", token))
    else if (nzchar(user)) httr::authenticate(user, Sys.getenv("MLFLOW_TRACKING_PASSWORD"))
    else httr::config()
  }

  check_answer <- function(answer) {
    text <- httr::content(answer, as = "text", encoding = "UTF-8")
    if (httr::status_code(answer) < 400L) return(text)
    said <- tryCatch(jsonlite::fromJSON(text)$message, error = function(error) NULL)
    fail("the tracking server refused: ", if (is.null(said)) httr::http_status(answer)$message else said)
  }

  place <- function(...) paste0(sub("/+$", "", Sys.getenv("MLFLOW_TRACKING_URI")), "/api/2.0/", ...)

  post <- function(deed, ...) {
    body <- jsonlite::toJSON(list(run_id = run_id(), ...), auto_unbox = TRUE, json_verbatim = TRUE)
    check_answer(httr::POST(place("mlflow/", deed), authorize(), httr::content_type_json(), body = enc2utf8(body)))
  }

  find_run_dir <- function() {
    uri <- Sys.getenv("REPRO_TRACKING_URI", Sys.getenv("MLFLOW_TRACKING_URI"))
    if (grepl("^https?://", uri)) fail("the R packages httr and jsonlite are needed to log to `", uri, "`")
    file.path(as_path(uri), Sys.getenv("MLFLOW_EXPERIMENT_ID"), run_id())
  }

  as_path <- function(uri) if (grepl("^file:", uri)) utils::URLdecode(sub("^file:(//[^/]*)?", "", uri)) else uri

  find_artifact_dir <- function() {
    run_dir <- find_run_dir()
    lines <- grep("^artifact_uri:", readLines(file.path(run_dir, "meta.yaml"), encoding = "UTF-8"), value = TRUE)
    uri <- gsub("^artifact_uri:\\s*|['\"]|\\s+$", "", lines)
    if (grepl("^[a-z-]+:", uri) && !grepl("^file:", uri)) file.path(run_dir, "artifacts") else as_path(uri)
  }

  check_key <- function(kind, key) {
    parts <- strsplit(key, "/", fixed = TRUE)[[1L]]
    if (length(key) != 1L || !grepl("^[][:alnum:]_.: /-]+$", key) || any(parts %in% c("", ".", "..")))
      fail("`", key, "` is no name of a ", kind)
    key
  }

  write_value <- function(path, text) {
    dir.create(dirname(path), recursive = TRUE, showWarnings = FALSE)
    temporary <- file.path(dirname(path), sprintf(".%08x.tmp", Sys.getpid()))
    connection <- file(temporary, "wb")
    writeBin(charToRaw(enc2utf8(text)), connection)
    close(connection)
    if (!file.rename(temporary, path)) fail("`", path, "` cannot be written")
  }

  read_value <- function(path) {
    text <- readBin(path, "raw", file.size(path))
    text <- rawToChar(text)
    Encoding(text) <- "UTF-8"
    text
  }

  # As text: a number without an exponent where it is readable, with all the digits that it takes.
  format_value <- function(value) {
    if (!is.numeric(value) || !is.finite(value)) return(as.character(value))
    plain <- abs(value) < 1e15 && (value == 0 || abs(value) >= 1e-4)
    for (digits in c(15L, 17L)) {
      text <- format(value, digits = digits, scientific = !plain, trim = TRUE)
      if (as.numeric(text) == value) break
    }
    text
  }

  log_param <- function(key, value) {
    if (length(value) != 1L) fail("the parameter `", key, "` has ", length(value), " values, and must have one")
    text <- format_value(value)
    check_key("parameter", key)
    if (is_served()) {
      post("runs/log-parameter", key = key, value = text)
    } else {
      path <- file.path(find_run_dir(), "params", key)
      if (!file.exists(path)) write_value(path, text)
      else if (read_value(path) != text)
        fail("the parameter `", key, "` is `", read_value(path), "` and cannot become `", text, "`")
    }
    invisible(value)
  }

  log_metric <- function(key, value, step = 0L, timestamp = Sys.time()) {
    check_key("metric", key)
    number <- suppressWarnings(as.numeric(value))
    if (length(number) != 1L || is.na(number) && !is.nan(number)) fail("the metric `", key, "` must be one number")
    ms <- floor(as.numeric(timestamp) * 1000)
    if (is_served()) {
      sent <- if (is.nan(number)) "NaN" else if (number > 0) "Infinity" else "-Infinity"
      # jsonlite would round to 15 digits.
      if (is.finite(number)) sent <- structure(format_value(number), class = "json")
      sent_ms <- structure(sprintf("%.0f", ms), class = "json")
      post("runs/log-metric", key = key, value = sent, timestamp = sent_ms, step = as.integer(step))
    } else {
      path <- file.path(find_run_dir(), "metrics", key)
      dir.create(dirname(path), recursive = TRUE, showWarnings = FALSE)
      text <- if (is.nan(number)) "nan" else if (is.finite(number)) format_value(number) else if (number > 0) "inf" else "-inf"
      cat(sprintf("%.0f %s %d\n", ms, text, as.integer(step)), file = path, append = TRUE)
    }
    invisible(value)
  }

  send_artifact <- function(path, name, root) {
    parts <- vapply(strsplit(name, "/", fixed = TRUE)[[1L]], utils::URLencode, "", reserved = TRUE)
    target <- place("mlflow-artifacts/artifacts/", root, "/", paste(parts, collapse = "/"))
    check_answer(httr::PUT(target, authorize(), body = httr::upload_file(path)))
  }

  log_artifact <- function(path, artifact_path = NULL) {
    if (!file.exists(path)) fail("there is no file `", path, "` to keep")
    files <- if (dir.exists(path)) list.files(path, recursive = TRUE, all.files = TRUE) else basename(path)
    from <- if (dir.exists(path)) file.path(path, files) else path
    names <- if (is.null(artifact_path)) files else file.path(artifact_path, files)
    for (name in names) check_artifact(name)
    if (is_served()) {
      run <- jsonlite::fromJSON(check_answer(httr::GET(place("mlflow/runs/get"), authorize(), query = list(run_id = run_id()))))
      uri <- run$run$info$artifact_uri
      if (grepl("^mlflow-artifacts:", uri)) {
        for (at in seq_along(from)) send_artifact(from[[at]], names[[at]], sub("^mlflow-artifacts:(//[^/]*)?/*", "", uri))
        return(invisible(path))
      }
      if (grepl("^[a-z0-9+-]+:", uri) && !grepl("^file:", uri)) fail("artifacts cannot be kept from R at `", uri, "`")
      target <- as_path(uri)
    } else {
      target <- find_artifact_dir()
    }
    for (at in seq_along(from)) {
      place <- file.path(target, names[[at]])
      dir.create(dirname(place), recursive = TRUE, showWarnings = FALSE)
      if (!file.copy(from[[at]], place, overwrite = TRUE)) fail("`", from[[at]], "` cannot be kept at `", place, "`")
    }
    invisible(path)
  }

  check_artifact <- function(name) {
    if (startsWith(name, "/") || any(strsplit(name, "/", fixed = TRUE)[[1L]] == "..")) fail("`", name, "` lies outside the run")
  }

  # Packages ---------------------------------------------------------------------------------------------------------

  describe <- function(package) {
    said <- suppressWarnings(utils::packageDescription(package))
    if (!is.list(said) || identical(said$Priority, "base")) return(NULL)
    from <- c(said$RemoteType, said$Repository)
    sha <- if (is.null(said$RemoteSha)) "" else paste0("@", said$RemoteSha)
    data.frame(Package = package, Source = if (length(from)) paste0(from[[1L]], sha) else "unknown", Version = said$Version)
  }

  note_packages <- function(directory) {
    r <- data.frame(RVersion = paste(R.version$major, R.version$minor, sep = "."), Platform = R.version$platform)
    packages <- do.call(rbind, lapply(sort(loadedNamespaces()), describe))
    path <- file.path(directory, paste0("r-", Sys.getpid(), ".txt"))
    write.dcf(r, path)
    if (!is.null(packages)) {
      cat("\n", file = path, append = TRUE)
      write.dcf(packages, path, append = TRUE)
    }
  }

  record <- Sys.getenv("REPRO_OBSERVE_DIR")
  if (nzchar(record)) {
    process <- Sys.getpid()
    reg.finalizer(environment(), function(here) {
      if (Sys.getpid() == process) try(note_packages(record), silent = TRUE)
    }, onexit = TRUE)
  }

  face <- list(param = param, log_param = log_param, log_metric = log_metric, log_artifact = log_artifact)
  attach(c(face, list(repro = face)), name = "repro", warn.conflicts = FALSE)
})
