# Makes the fixtures with covariates and with a continuous predictor: data as .csv, what lme4 and lmerTest make of
# them as fits_beside.json. Run once, in this folder: Rscript make_fixtures_beside.R
suppressMessages({library(lme4); library(lmerTest); library(jsonlite)})

draws <- function(n, sd) matrix(rnorm(n * 3), n) %*% diag(sd)

# Both members of every pair in every context; words differ in z1 and z2, and conditions in both.
pairs_beside <- function(n_items = 24, n_contexts = 8) {
  grid <- expand.grid(condition = 0:1, context = seq_len(n_contexts), item = seq_len(n_items))
  z1 <- rnorm(2 * n_items) + rep(0:1, n_items) * 0.8
  z2 <- 0.5 * z1 + rnorm(2 * n_items) + 3
  own <- 2 * (grid$item - 1) + grid$condition + 1
  a <- draws(n_items, rep(0.8, 3)); b <- draws(n_items, c(0.2, 0.5, 0.5))
  u <- draws(n_contexts, rep(0.7, 3)); v <- draws(n_contexts, c(0.2, 0.4, 0.8))
  y <- a[grid$item, ] + u[grid$context, ] + draws(nrow(grid), rep(1, 3)) + 0.5 * z1[own] - 0.3 * z2[own] +
    grid$condition * (0.3 + b[grid$item, ] + v[grid$context, ])
  data.frame(grid, z1 = round(z1[own], 3), z2 = round(z2[own], 3), y = round(y, 4))
}

# The same, with z1 of every observation: how long its sentence is with that word.
pairs_beside_rows <- function() {
  data <- pairs_beside()
  data$z1 <- round(data$z1 + rnorm(nrow(data)), 3)
  data
}

# Items of one condition each, in every context, a covariate of the items and one of every observation.
items_beside <- function(n_items = 30, n_contexts = 8) {
  grid <- expand.grid(context = seq_len(n_contexts), item = seq_len(n_items))
  grid$condition <- as.integer(grid$item > 0.6 * n_items)
  z1 <- (rnorm(n_items) + (seq_len(n_items) > 0.6 * n_items))[grid$item]
  z2 <- rnorm(nrow(grid))
  a <- draws(n_items, rep(0.6, 3)); u <- draws(n_contexts, rep(0.6, 3)); v <- draws(n_contexts, c(0.4, 0.6, 0.9))
  y <- a[grid$item, ] + u[grid$context, ] + draws(nrow(grid), rep(1, 3)) + 0.6 * z1 + 0.4 * z2 +
    grid$condition * (0.3 + v[grid$context, ])
  data.frame(grid, z1 = round(z1, 3), z2 = round(z2, 3), y = round(y, 4))
}

# Rows are missing, so that some cells have one member only.
missing_beside <- function() {
  data <- pairs_beside(20, 9)
  data[-sample(nrow(data), 70), ]
}

# Items and contexts of one condition each.
nested_beside <- function() {
  item <- sample(rep(1:60, length.out = 200)); context <- sample(rep(1:25, length.out = 200))
  condition <- as.integer(item > 30)
  context <- context + 25 * condition
  z1 <- (rnorm(60) + 0.7 * (1:60 > 30))[item] + 0.3 * rnorm(200); z2 <- rnorm(50)[context]
  a <- draws(60, rep(0.6, 3)); u <- draws(50, rep(0.5, 3))
  y <- a[item, ] + u[context, ] + 0.3 * condition + 0.5 * z1 - 0.4 * z2 + draws(200, rep(1, 3))
  data.frame(condition, context, item, z1 = round(z1, 3), z2 = round(z2, 3), y = round(y, 4))
}

# Items that differ along a predictor, in every context.
slopes <- function(n_items = 40, n_contexts = 8) {
  grid <- expand.grid(context = seq_len(n_contexts), item = seq_len(n_items))
  x <- runif(n_items, 1, 5)[grid$item]
  a <- draws(n_items, rep(0.5, 3)); u <- draws(n_contexts, rep(0.6, 3)); v <- draws(n_contexts, c(0.1, 0.2, 0.4))
  y <- a[grid$item, ] + u[grid$context, ] + draws(nrow(grid), rep(1, 3)) + x * (0.1 + v[grid$context, ])
  data.frame(grid, x = round(x, 3), y = round(y, 4))
}

# The same with gaps, and with a covariate of the items that goes along with the predictor.
slopes_beside <- function() {
  data <- slopes(36, 9)
  z <- round((rnorm(36) + 0.5 * tapply(data$x, data$item, mean))[data$item], 3)
  for (k in 1:3) data[[3 + k]] <- data[[3 + k]] + 0.5 * z
  data.frame(data[1:3], z1 = z, data[4:6])[-sample(nrow(data), 60), ]
}

# A predictor that differs from context to context within an item.
slopes_within <- function() {
  data <- slopes(30, 10)
  x <- round(data$x + rnorm(nrow(data)), 3)
  b <- draws(30, c(0.2, 0.3, 0.3))
  for (k in 1:3) data[[3 + k]] <- data[[3 + k]] + b[data$item, k] * x
  data$x <- x
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

describe <- function(model, row) {
  table <- coef(summary(model))
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

# As differences within the cells where `d`, as observations otherwise; `of` is what is tested.
RNGversion("4.2.0")
set.seed(23)
full <- "(1 + condition | item) + (1 + condition | context)"
models <- list(
  pairs_beside = list(pairs_beside, "d", "(1 | item) + (1 | context)", "z1 + z2", "(Intercept)"),
  pairs_beside_rows = list(pairs_beside_rows, "d", "(1 | item) + (1 | context)", "z1 + z2", "(Intercept)"),
  items_beside = list(items_beside, "y", "(1 | item) + (1 + condition | context)", "condition + z1 + z2", "condition"),
  missing_beside = list(missing_beside, "y", full, "condition + z1 + z2", "condition"),
  nested_beside = list(nested_beside, "y", "(1 | item) + (1 | context)", "condition + z1 + z2", "condition"),
  slopes = list(slopes, "y", "(1 | item) + (1 + x | context)", "x", "x"),
  slopes_beside = list(slopes_beside, "y", "(1 | item) + (1 + x | context)", "x + z1", "x"),
  slopes_within = list(slopes_within, "y", "(1 + x | item) + (1 + x | context)", "x", "x")
)
fits <- list()
for (name in names(models)) {
  data <- models[[name]][[1]]()
  names(data) <- sub("^(y\\.|X)", "y", names(data))
  names(data)[startsWith(names(data), "y")] <- paste0("y", 1:3)
  write.csv(data, paste0(name, ".csv"), row.names = FALSE, quote = FALSE)
  if (models[[name]][[2]] == "d") {
    wide <- merge(data[data$condition == 1, ], data[data$condition == 0, ], by = c("item", "context"))
    for (k in c("y1", "y2", "y3", "z1", "z2")) wide[[k]] <- wide[[paste0(k, ".x")]] - wide[[paste0(k, ".y")]]
    data <- wide
  }
  # the degrees of freedom of a fit with a variance at its bound depend on where the predictor is zero
  if ("x" %in% names(data)) data$x <- as.numeric(scale(data$x))
  for (head in paste0("y", 1:3)) {
    formula <- as.formula(paste(head, "~", models[[name]][[4]], "+", models[[name]][[3]]))
    fits[[name]][[head]] <- describe(fit(formula, data), models[[name]][[5]])
  }
}
fits$versions <- list(R = R.version$version.string, lme4 = as.character(packageVersion("lme4")),
  lmerTest = as.character(packageVersion("lmerTest")))
write_json(fits, "fits_beside.json", digits = NA, auto_unbox = TRUE, pretty = TRUE)
