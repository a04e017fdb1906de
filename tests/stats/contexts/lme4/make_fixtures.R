# Makes the fixtures beside this file: data as .csv, what lme4 and lmerTest make of them as fits.json.
# Run once, in this folder: Rscript make_fixtures.R
suppressMessages({library(lme4); library(lmerTest); library(jsonlite)})

draws <- function(n, sd) matrix(rnorm(n * 3), n) %*% diag(sd)

# Both members of every pair in every context.
pairs <- function(n_items = 24, n_contexts = 8, sd_item = rep(0.4, 3), sd_context = c(0.1, 0.4, 0.8)) {
  grid <- expand.grid(condition = 0:1, context = seq_len(n_contexts), item = seq_len(n_items))
  a <- draws(n_items, rep(0.8, 3)); b <- draws(n_items, sd_item)
  u <- draws(n_contexts, rep(0.7, 3)); v <- draws(n_contexts, sd_context) + 0.3 * u
  cell <- interaction(grid$item, grid$context, drop = TRUE)
  w <- draws(nlevels(cell), rep(0.5, 3))
  y <- a[grid$item, ] + u[grid$context, ] + w[as.integer(cell), ] + draws(nrow(grid), rep(1, 3)) +
    grid$condition * (0.3 + b[grid$item, ] + v[grid$context, ])
  data.frame(grid, y = round(y, 4))
}

# A third of the cells of pair and context are missing, whole.
missing_cells <- function() {
  data <- pairs()
  drop <- sample(24 * 8, 60)
  data[!((data$item - 1) * 8 + data$context) %in% drop, ]
}

# The other members of a pair go through other contexts.
latin <- function() {
  data <- pairs(30, 10, rep(0.7, 3), rep(0.7, 3))
  data[(data$item + data$context) %% 2 == data$condition, ]
}

# Single rows are missing, so that some cells have one member only.
missing_rows <- function() {
  data <- pairs(20, 9, rep(0.7, 3), rep(0.7, 3))
  data[-sample(nrow(data), 70), ]
}

# Items of one condition each, in every context.
items_nested <- function(n_items = 30, n_contexts = 8, sd_context = c(0.3, 0.5, 0.9)) {
  grid <- expand.grid(context = seq_len(n_contexts), item = seq_len(n_items))
  grid$condition <- as.integer(grid$item > 0.6 * n_items)
  a <- draws(n_items, rep(0.6, 3)); u <- draws(n_contexts, rep(0.6, 3))
  v <- draws(n_contexts, sd_context)
  y <- a[grid$item, ] + u[grid$context, ] + draws(nrow(grid), rep(1, 3)) +
    grid$condition * (0.3 + v[grid$context, ])
  data.frame(grid, y = round(y, 4))
}

items_nested_missing <- function() {
  data <- items_nested(sd_context = rep(0.8, 3))
  data[-sample(nrow(data), 60), ]
}

# Contexts of one condition each as well: clips.
both_nested <- function() {
  item <- sample(rep(1:60, length.out = 200)); context <- sample(rep(1:25, length.out = 200))
  condition <- as.integer(item > 30)
  context <- context + 25 * condition
  a <- draws(60, rep(0.6, 3)); u <- draws(50, rep(0.5, 3))
  y <- a[item, ] + u[context, ] + 0.3 * condition + draws(200, rep(1, 3))
  data.frame(condition, context, item, y = round(y, 4))
}

# Every item once: its effect is the residual.
single <- function() {
  item <- 1:160; context <- rep(1:10, 16); condition <- as.integer(item %% 3 == 0)
  u <- draws(10, rep(0.6, 3)); v <- draws(10, c(0.4, 0.7, 1))
  y <- u[context, ] + condition * (0.3 + v[context, ]) + draws(160, rep(1, 3))
  data.frame(condition, context, item, y = round(y, 4))
}

# Less variance over contexts than chance would leave.
boundary <- function() {
  data <- pairs(20, 6, rep(0.3, 3), rep(0.3, 3))
  d <- as.matrix(data[data$condition == 1, 4:6] - data[data$condition == 0, 4:6])
  context <- data$context[data$condition == 1]
  for (k in 1:3) {
    d[, k] <- d[, k] - 0.95 * (ave(d[, k], context) - mean(d[, k]))
    data[data$condition == 1, 3 + k] <- round(data[data$condition == 0, 3 + k] + d[, k], 4)
  }
  data
}

# lme4's optimizers stop when the deviance does; the degrees of freedom need theta itself. From where lme4 stops
# on lme4's own deviance, Newton steps with numDeriv's derivatives go on to the minimum.
fit <- function(formula, data) {
  parsed <- lFormula(formula, data, REML = TRUE)
  devfun <- do.call(mkLmerDevfun, parsed)
  start <- suppressMessages(lmer(formula, data, REML = TRUE,
                control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = 0.2, rhoend = 1e-9))))
  theta <- getME(start, "theta")
  bound <- getME(start, "lower") == 0 & theta < 1e-4
  theta[bound] <- 0
  free <- which(!bound)
  for (step in seq_len(if (length(free)) 5 else 0)) {
    part <- theta[free]
    from <- function(move) { theta[free] <- part + move; devfun(theta) }
    gradient <- numDeriv::grad(from, 0 * part, method.args = list(eps = 1e-3))
    theta[free] <- part - solve(numDeriv::hessian(from, 0 * part, method.args = list(eps = 1e-2)), gradient)
  }
  value <- devfun(theta)
  stopifnot(value <= -2 * as.numeric(logLik(start)) + 1e-6)
  optimum <- list(par = theta, fval = value, conv = 0, message = NULL)
  model <- mkMerMod(environment(devfun), optimum, parsed$reTrms, fr = parsed$fr, mc = quote(lmer()))
  lmerTest:::as_lmerModLT(model, devfun)
}

describe <- function(model) {
  table <- coef(summary(model))
  row <- nrow(table)
  variances <- as.data.frame(VarCorr(model))
  list(
    criterion = -2 * as.numeric(logLik(model)),
    singular = isSingular(model),
    estimate = unname(table[row, "Estimate"]),
    se = unname(table[row, "Std. Error"]),
    dof = unname(table[row, "df"]),
    p = unname(table[row, "Pr(>|t|)"]),
    variances = setNames(as.list(variances$vcov), paste0(variances$grp, ifelse(is.na(variances$var1), "",
      paste0(".", variances$var1)), ifelse(is.na(variances$var2), "", paste0(".", variances$var2))))
  )
}

# As differences within the cells where `d`, as observations otherwise.
RNGversion("4.2.0")
set.seed(21)
full <- "condition + (1 + condition | item) + (1 + condition | context)"
models <- list(
  pairs = list(pairs, "d", "1 + (1 | item) + (1 | context)"),
  pairs_observations = list(pairs, "y", full),
  pairs_cells = list(function() pairs(20, 10, rep(0.9, 3), rep(0.9, 3)), "y", paste(full, "+ (1 | item:context)")),
  missing_cells = list(missing_cells, "d", "1 + (1 | item) + (1 | context)"),
  latin = list(latin, "y", full),
  missing_rows = list(missing_rows, "y", full),
  items_nested = list(items_nested, "y", "condition + (1 | item) + (1 + condition | context)"),
  items_nested_missing = list(items_nested_missing, "y", "condition + (1 | item) + (1 + condition | context)"),
  both_nested = list(both_nested, "y", "condition + (1 | item) + (1 | context)"),
  single = list(single, "y", "condition + (1 + condition | context)"),
  boundary = list(boundary, "d", "1 + (1 | item) + (1 | context)")
)
fits <- list()
for (name in names(models)) {
  data <- models[[name]][[1]]()
  names(data) <- sub("^(y\\.|X)", "y", names(data))
  names(data)[startsWith(names(data), "y")] <- paste0("y", 1:3)
  write.csv(data, paste0(name, ".csv"), row.names = FALSE, quote = FALSE)
  if (models[[name]][[2]] == "d") {
    wide <- merge(data[data$condition == 1, ], data[data$condition == 0, ], by = c("item", "context"))
    for (k in 1:3) wide[[paste0("y", k)]] <- wide[[paste0("y", k, ".x")]] - wide[[paste0("y", k, ".y")]]
    data <- wide
  }
  for (head in paste0("y", 1:3))
    fits[[name]][[head]] <- describe(fit(as.formula(paste(head, "~", models[[name]][[3]])), data))
}
fits$versions <- list(R = R.version$version.string, lme4 = as.character(packageVersion("lme4")),
  lmerTest = as.character(packageVersion("lmerTest")))
write_json(fits, "fits.json", digits = NA, auto_unbox = TRUE, pretty = TRUE)
